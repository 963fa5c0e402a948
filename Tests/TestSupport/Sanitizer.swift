import Foundation

/// The sanitizer with which `launch/test --sanitize` has built these tests and the programs that they start.
public enum Sanitizer: String, Sendable {
  /// AddressSanitizer, which finds invalid accesses to memory.
  case address
  /// ThreadSanitizer, which finds data races.
  case thread

  /// The sanitizer of this process; `nil` in an ordinary build.
  public static let current = ProcessInfo.processInfo.environment["WRN_SANITIZE"].flatMap(Sanitizer.init)
  /// Whether this process runs under any sanitizer.
  public static var isActive: Bool { current != nil }
  /// The factor of all limits that bound hanging tests: ThreadSanitizer slows a program down by 5 to 15.
  static var timeFactor: Int { isActive ? 5 : 1 }
}
