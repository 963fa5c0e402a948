import Foundation

/// The executables of the build that runs the tests, and installed programs.
public enum BuiltProducts {
  /// A missing program that a test needs.
  public struct Missing: Error, CustomStringConvertible {
    /// One sentence with the fix.
    public let description: String
  }

  /// Returns the path of an executable of this package in the build directory of these tests.
  ///
  /// - Parameter name: The executable's name.
  /// - Returns: Its full path.
  /// - Throws: ``Missing`` if it has not been built.
  public static func executable(_ name: String) throws -> String {
    for start in [
      try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"),
      CommandLine.arguments.first, CommandLine.arguments.first { $0.hasSuffix(".xctest") },
    ] {
      guard let start else { continue }
      // The test program is in the build directory, or up to three directories below it in a bundle.
      var directory = URL(fileURLWithPath: start).deletingLastPathComponent()
      for _ in 0..<4 {
        let candidate = directory.appendingPathComponent(name).path
        if isProgram(candidate) { return candidate }
        directory.deleteLastPathComponent()
      }
    }
    throw Missing(
      description: "The program \(name) is not next to the tests: build it with swift build "
        + "--build-tests in the same configuration.")
  }

  /// Returns the path of an installed program.
  ///
  /// - Parameter name: The program's name.
  /// - Returns: Its full path.
  /// - Throws: ``Missing`` if it is not in any directory of PATH.
  public static func installed(_ name: String) throws -> String {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    for directory in path.split(separator: ":") where isProgram("\(directory)/\(name)") {
      return "\(directory)/\(name)"
    }
    throw Missing(description: "\(name) is not in any directory of PATH: run launch/setup --test first.")
  }

  private static func isProgram(_ path: String) -> Bool {
    var isDirectory: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
      && !isDirectory.boolValue && FileManager.default.isExecutableFile(atPath: path)
  }
}
