// Package zab is written here.
package zab
