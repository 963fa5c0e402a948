import Glibc

/// The end of a batch job, before which a run stops by itself with a checkpoint.
///
/// The batch system's signal before the end may come too late for a slow file system. The run measures how long a checkpoint
/// and a step take instead.
public struct TimeLimit: Sendable, Hashable {
  /// The end in seconds since 1970.
  public let end: Double

  /// Creates the limit.
  public init(end: Double) { self.end = end }

  /// Reads `WRN_END_TIME`, or else Slurm's `SLURM_JOB_END_TIME`, in seconds since 1970; `nil` if neither is a time.
  ///
  /// - Parameter environment: The environment of the process.
  public init?(environment: [String: String]) {
    let text = environment["WRN_END_TIME"] ?? environment["SLURM_JOB_END_TIME"] ?? ""
    guard let end = Double(text), end > 0, end.isFinite else { return nil }
    self.end = end
  }

  /// Returns whether the last checkpoint should be written now.
  ///
  /// - Parameters:
  ///   - now: Seconds since 1970.
  ///   - checkpointSeconds: The duration of a checkpoint.
  ///   - stepSeconds: The duration of a step.
  /// - Returns: Whether twice both, and ten seconds, are no longer left.
  package func isNear(now: Double, checkpointSeconds: Double, stepSeconds: Double) -> Bool {
    now + 2 * (checkpointSeconds + stepSeconds) + 10 >= end
  }

  /// Returns the duration of a checkpoint before one has been measured.
  ///
  /// - Parameter byteCount: The bytes of a checkpoint.
  /// - Returns: Seconds, at 20 MB per second.
  package static func expectedCheckpointSeconds(byteCount: Int) -> Double { Double(byteCount) / 20e6 }

  /// The time of day in seconds since 1970.
  static func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}
