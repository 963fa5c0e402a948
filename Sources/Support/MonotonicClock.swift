import Glibc

/// The system's monotonic clock (`CLOCK_MONOTONIC`), which setting the time of day does not affect.
///
/// All processes of one host read the same clock; clocks of different hosts are unrelated.
public enum MonotonicClock {
  /// Returns the nanoseconds since an arbitrary moment in the past.
  public static func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  /// Returns the seconds since `start`, a result of ``now()``.
  public static func seconds(since start: UInt64) -> Double { seconds(now() &- start) }

  /// Converts nanoseconds to seconds.
  public static func seconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) * 1e-9 }
}

extension Duration {
  /// The duration in seconds.
  public var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
