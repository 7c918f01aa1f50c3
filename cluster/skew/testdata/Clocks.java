import java.io.*;
import java.time.*;
import java.util.concurrent.atomic.*;

/** Tells what its clocks read, in one line for each line of its input: wall mono back, in nanoseconds. Threads read them all the time. */
public class Clocks {
	static final AtomicLong back = new AtomicLong();

	public static void main(String[] args) throws IOException {
		for (int i = 0; i < Integer.parseInt(args[0]); i++) {
			Thread t = new Thread(() -> {
				for (long last = System.nanoTime(); ; ) {
					long now = System.nanoTime();
					if (now < last || System.currentTimeMillis() == 0) back.incrementAndGet();
					last = now;
				}
			});
			t.setDaemon(true);
			t.start();
		}
		BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
		while (lines.readLine() != null) {
			Instant now = Instant.now();
			System.out.println((now.getEpochSecond() * 1000000000L + now.getNano()) + " " + System.nanoTime() + " " + back.get());
		}
	}
}
