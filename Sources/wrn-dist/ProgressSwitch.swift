import Collectives

/// `WRN_TEST_NO_PROGRESS=1`: nobody moves messages on while ranks compute, so that a benchmark can show what that costs.
///
/// It is refused unless `WRN_ALLOW_FAULTS=1` is set as well. No result depends on it.
enum ProgressSwitch {
  /// Tells whether progress is switched off.
  ///
  /// - Parameter environment: The environment of the process.
  /// - Returns: Whether it is.
  /// - Throws: `StartupFailure` if that is not allowed or not understood.
  static func isOff(_ environment: [String: String]) throws -> Bool {
    let name = "WRN_TEST_NO_PROGRESS"
    guard let text = environment[name], !text.isEmpty, text != "0" else { return false }
    guard text == "1" else {
      throw StartupFailure(
        exitCode: ExitCodes.usage,
        message: "\(name)=\(text) is not understood; write 1 or unset it.")
    }
    guard environment["WRN_ALLOW_FAULTS"] == "1" else {
      throw StartupFailure(
        exitCode: ExitCodes.usage,
        message:
          "\(name)=1 would slow the run down; unset it, or set WRN_ALLOW_FAULTS=1 if that is meant."
      )
    }
    return true
  }
}
