import Foundation

/// Finds what the build that runs the tests has made.
public enum BuiltProducts {
  /// Something that a test needs and that is not there.
  public struct Missing: Error, CustomStringConvertible {
    /// One sentence with the remedy.
    public let description: String
  }

  /// Returns the path of an executable of this package, from the build folder of these tests.
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
      // The test program lies in the build folder, or up to three folders below it in a bundle.
      var folder = URL(fileURLWithPath: start).deletingLastPathComponent()
      for _ in 0..<4 {
        let candidate = folder.appendingPathComponent(name).path
        if isProgram(candidate) { return candidate }
        folder.deleteLastPathComponent()
      }
    }
    throw Missing(
      description: "The program \(name) is not beside the tests: build it with swift build "
        + "--build-tests in the same configuration.")
  }

  /// Returns the path of an installed program.
  ///
  /// - Parameter name: The program's name.
  /// - Returns: Its full path.
  /// - Throws: ``Missing`` if it is in no folder of PATH.
  public static func installed(_ name: String) throws -> String {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    for folder in path.split(separator: ":") where isProgram("\(folder)/\(name)") {
      return "\(folder)/\(name)"
    }
    throw Missing(description: "\(name) is in no folder of PATH: run launch/setup --test first.")
  }

  private static func isProgram(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
      && !isFolder.boolValue && FileManager.default.isExecutableFile(atPath: path)
  }
}
