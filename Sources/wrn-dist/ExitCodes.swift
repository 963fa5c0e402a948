/// The exit codes that scripts may rely on; the numbers are those of BSD's sysexits.h as far as it goes.
enum ExitCodes {
  /// A flag, a value or a combination that cannot be run.
  static let usage: Int32 = 64
  /// A data set or checkpoint that is missing or bad.
  static let badData: Int32 = 65
  /// A rank or a network connection that failed, ranks that do not agree, or a host without the memory for them.
  static let peerFailure: Int32 = 69
  /// A defect of the program.
  static let `internal`: Int32 = 70
  /// An output that cannot be created.
  static let cannotCreate: Int32 = 73
  /// Reading or writing failed.
  static let inputOutput: Int32 = 74
  /// Stopped on request after a checkpoint: start the same command again to go on.
  static let stopped: Int32 = 75
  /// The loss is no longer a number.
  static let diverged: Int32 = 76
}
