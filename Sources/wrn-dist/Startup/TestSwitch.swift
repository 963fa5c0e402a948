import Collectives

/// An environment variable that injects a fault for a test or benchmark: 1, or unset.
///
/// It needs `WRN_ALLOW_FAULTS=1`.
struct TestSwitch {
  /// The name of the variable.
  let name: String
  /// Its effect, as in "WRN_…=1 would …".
  let effect: String

  /// Messages do not progress while ranks compute; does not affect results.
  static let noProgress = TestSwitch(name: "WRN_TEST_NO_PROGRESS", effect: "slow the run down")
  /// The native kernels that `doctor` checks compute one wrong value.
  static let wrongKernel = TestSwitch(
    name: "WRN_TEST_WRONG_KERNEL", effect: "make doctor report a defect that does not exist")

  /// Returns whether it is set.
  ///
  /// - Parameter environment: The environment of the process.
  /// - Returns: `true` for 1, `false` if it is unset or 0.
  /// - Throws: `StartupFailure` if the value is invalid or faults are not allowed.
  func isOn(_ environment: [String: String]) throws -> Bool {
    guard let text = environment[name], !text.isEmpty, text != "0" else { return false }
    guard text == "1" else {
      throw StartupFailure(
        exitCode: ExitCodes.usage,
        message: "\(name)=\(text) is not a valid value; set it to 1, or unset it.")
    }
    guard environment["WRN_ALLOW_FAULTS"] == "1" else {
      throw StartupFailure(
        exitCode: ExitCodes.usage,
        message: "\(name)=1 would \(effect); unset it, or set WRN_ALLOW_FAULTS=1 if that is intended.")
    }
    return true
  }
}
