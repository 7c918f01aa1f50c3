// Tells for each line of its input: the wall clock, the monotonic clock, a child, how many signals 40 have come, and 0. Meanwhile one of its threads
// waits in the kernel for that child, which it has vforked and which does nothing, and no signal but a deadly one ends that.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static volatile pid_t child;
static volatile long come;

static void count(int signal) { __sync_fetch_and_add(&come, 1); }

static void *busy(void *unused) {
	struct timespec t;
	for (;;) clock_gettime(CLOCK_MONOTONIC, &t);
	return unused;
}

static void *waiter(void *unused) {
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	if (vfork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		child = getpid();
		for (;;) pause();
	}
	for (;;) pause();
	return unused;
}

static long long ns(clockid_t id) {
	struct timespec t;
	clock_gettime(id, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void) {
	struct sigaction a = {.sa_handler = count, .sa_flags = SA_RESTART};
	sigaction(40, &a, NULL);
	void *(*all[])(void *) = {waiter, busy, busy};
	for (int i = 0; i < 3; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, all[i], NULL);
	}
	char line[100];
	while (fgets(line, sizeof line, stdin)) {
		printf("%lld %lld %d %ld 0\n", ns(CLOCK_REALTIME), ns(CLOCK_MONOTONIC), child, come);
		fflush(stdout);
	}
}
