package tree

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Nodes that every tree has and nobody deletes.
const (
	rootPath   = "/"
	systemPath = "/zookeeper"
	quotaPath  = "/zookeeper/quota"

	// ConfigPath is the node that holds the configuration of the ensemble.
	ConfigPath = "/zookeeper/config"
)

func special(path string) bool {
	return path == rootPath || path == systemPath || path == quotaPath || path == ConfigPath
}

// ValidPath is ZooKeeper's PathUtils.validatePath: absolute, no empty, "." or ".." names, no control characters, and nothing that Java's 16-bit
// characters have no single one for.
func ValidPath(path string) bool {
	if path == rootPath {
		return true
	}
	if path == "" || path[0] != '/' {
		return false
	}
	start := 1 // of the name that i is in
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if name := path[start:i]; name == "" || name == "." || name == ".." || !validName(name) {
			return false
		}
		start = i + 1
	}
	return true
}

func validName(name string) bool {
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= utf8.RuneSelf:
			return validRunes(name)
		case c < 0x20 || c == 0x7f:
			return false
		}
	}
	return true
}

func validRunes(name string) bool {
	for _, c := range name { // bytes that are no UTF-8 become U+FFFD here, as they do in Java, and that one is refused
		switch {
		case c < 0x20, c >= 0x7f && c <= 0x9f, c >= 0xd800 && c <= 0xf8ff, c >= 0xfff0:
			return false
		}
	}
	return true
}

// parentOf is the path up to its last slash; ok is false where ZooKeeper's getParentPathAndValidate and validatePathForCreate throw. The path need
// not be valid otherwise.
func parentOf(path string) (parent string, ok bool) {
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 || strings.IndexByte(path, 0) >= 0 {
		return "", false
	}
	if slash == 0 {
		return rootPath, true
	}
	return path[:slash], true
}

func nameOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// sequential is path with the suffix of a sequential node: Java's "%010d".
func sequential(path string, n int32) string {
	var digits [12]byte
	b := append(make([]byte, 0, len(path)+11), path...)
	width, v := 10, int64(n)
	if v < 0 {
		b = append(b, '-')
		width, v = 9, -v
	}
	d := strconv.AppendInt(digits[:0], v, 10)
	for range width - len(d) {
		b = append(b, '0')
	}
	return string(append(b, d...))
}

// before tells whether a walk over the tree that visits parents first and children in the order of their names comes to a before b. A slash sorts
// below all that names are made of.
func before(a, b string) bool {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return a[i] == '/' || b[i] != '/' && a[i] < b[i]
		}
	}
	return len(a) < len(b)
}
