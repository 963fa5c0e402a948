import Foundation

/// A directory for one test, removed with its contents when the object is deinitialized.
public final class TemporaryDirectory: Sendable {
  /// The location of the directory.
  public let url: URL

  /// Creates an empty directory with a unique name.
  ///
  /// - Throws: The file system's error if it cannot be created.
  public init() throws {
    url = FileManager.default.temporaryDirectory
      .appendingPathComponent("wrn-dist-test-\(UUID().uuidString)", isDirectory: true)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  /// The path of the directory.
  public var path: String { url.path }

  /// Writes a text file into the directory, and creates intermediate directories.
  ///
  /// - Parameters:
  ///   - name: The file's path within the directory.
  ///   - text: Its contents.
  /// - Returns: The file's full path.
  /// - Throws: The file system's error if it cannot be written.
  @discardableResult
  public func write(_ name: String, _ text: String) throws -> String {
    let file = url.appendingPathComponent(name)
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: file)
    return file.path
  }

  /// Writes an executable script into the directory.
  ///
  /// Another process (`install`) creates the executable file. If this process did, a child that another test starts at
  /// that moment would inherit the open file, and executing it would fail with "text file busy".
  ///
  /// - Parameters:
  ///   - name: The script's path within the directory.
  ///   - text: Its contents.
  /// - Throws: The file system's error if it cannot be written.
  public func writeScript(_ name: String, _ text: String) throws {
    let draft = try write(name + ".draft", text)
    try run("install", ["-m", "755", draft, url.appendingPathComponent(name).path])
    try FileManager.default.removeItem(atPath: draft)
  }

  /// Copies a directory of scripts into the directory; another process does it for the same reason.
  ///
  /// - Parameter source: The directory, which keeps its name.
  /// - Throws: The file system's error if it cannot be copied.
  public func copyScripts(_ source: URL) throws {
    try run("cp", ["-R", source.path, path])
  }

  private func run(_ tool: String, _ arguments: [String]) throws {
    let output = try ProcessRun(BuiltProducts.installed(tool), arguments).run()
    guard output.exitCode == 0 else {
      throw BuiltProducts.Missing(description: "\(tool) failed: \(output.standardError)")
    }
  }

  /// Reads a text file in the directory.
  ///
  /// - Parameter name: The file's path within the directory.
  /// - Returns: Its contents, empty if there is no such file.
  public func read(_ name: String) -> String {
    (try? String(contentsOf: url.appendingPathComponent(name), encoding: .utf8)) ?? ""
  }
}
