// Reads every clock there is to read, in one line for each line of its input:
//   wall mono raw boot coarse-wall coarse-mono gettimeofday time tai cpu back
// in nanoseconds. Meanwhile as many threads as its argument says read them all the time; back is how often a monotonic one stepped back,
// or a call did not fail that should. A profiling timer interrupts them.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static volatile long back;

static long long ns(clockid_t id) {
	struct timespec t;
	if (clock_gettime(id, &t) != 0 || t.tv_nsec < 0 || t.tv_nsec > 999999999) abort();
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long day(void) {
	struct timeval t;
	struct timezone z = {-1, -1};
	if (gettimeofday(&t, &z) != 0 || t.tv_usec < 0 || t.tv_usec > 999999 || z.tz_minuteswest == -1) abort();
	return t.tv_sec * 1000000000LL + t.tv_usec * 1000LL;
}

static void *busy(void *unused) {
	static const clockid_t ids[] = {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_MONOTONIC_COARSE};
	long long last[4] = {0};
	for (;;) {
		for (int i = 0; i < 4; i++) {
			long long now = ns(ids[i]);
			if (now < last[i]) __sync_fetch_and_add(&back, 1);
			last[i] = now;
		}
		day();
		time_t there, got = time(&there);
		struct timespec t;
		if (there != got || clock_gettime(77, &t) != -1 || errno != EINVAL) __sync_fetch_and_add(&back, 1);
	}
	return unused;
}

static void prof(int signal) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
}

int main(int argc, char **argv) {
	struct sigaction a = {.sa_handler = prof, .sa_flags = SA_RESTART};
	sigaction(SIGPROF, &a, NULL);
	struct itimerval often = {{0, 1000}, {0, 1000}};
	setitimer(ITIMER_PROF, &often, NULL);
	for (int i = 0; i < atoi(argv[1]); i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, busy, NULL);
	}
	char line[100];
	while (fgets(line, sizeof line, stdin)) {
		printf("%lld %lld %lld %lld", ns(CLOCK_REALTIME), ns(CLOCK_MONOTONIC), ns(CLOCK_MONOTONIC_RAW), ns(CLOCK_BOOTTIME));
		printf(" %lld %lld %lld", ns(CLOCK_REALTIME_COARSE), ns(CLOCK_MONOTONIC_COARSE), day());
		printf(" %lld %lld %lld %ld\n", time(NULL) * 1000000000LL, ns(CLOCK_TAI), ns(CLOCK_PROCESS_CPUTIME_ID), back);
		fflush(stdout);
	}
}
