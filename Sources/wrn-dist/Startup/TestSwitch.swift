import Collectives

/// A variable that spoils something so that a test or a benchmark can show what is then seen: 1 or nothing.
///
/// It is refused unless `WRN_ALLOW_FAULTS=1` is set as well.
struct TestSwitch {
  /// The variable.
  let name: String
  /// What it does, as in "WRN_…=1 would …".
  let harm: String

  /// Nobody moves messages on while ranks compute; no result depends on it.
  static let noProgress = TestSwitch(name: "WRN_TEST_NO_PROGRESS", harm: "slow the run down")
  /// The native kernels that `doctor` checks compute one number wrongly.
  static let wrongKernel = TestSwitch(
    name: "WRN_TEST_WRONG_KERNEL", harm: "make doctor find a defect that is not there")

  /// Tells whether it is set.
  ///
  /// - Parameter environment: The environment of the process.
  /// - Returns: Whether it is.
  /// - Throws: `StartupFailure` if that is not allowed or not understood.
  func isOn(_ environment: [String: String]) throws -> Bool {
    guard let text = environment[name], !text.isEmpty, text != "0" else { return false }
    guard text == "1" else {
      throw StartupFailure(
        exitCode: ExitCodes.usage,
        message: "\(name)=\(text) is not understood; write 1 or unset it.")
    }
    guard environment["WRN_ALLOW_FAULTS"] == "1" else {
      throw StartupFailure(
        exitCode: ExitCodes.usage,
        message: "\(name)=1 would \(harm); unset it, or set WRN_ALLOW_FAULTS=1 if that is meant.")
    }
    return true
  }
}
