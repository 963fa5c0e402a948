import Foundation

/// The conversion of SVG to PNG by librsvg's command `rsvg-convert`, which is looked up in PATH.
///
/// A command, because only this format needs it; the library would bring 30 packages to every machine.
package enum SVGRasterizer {
  /// Converts a document.
  ///
  /// - Parameters:
  ///   - svg: The document.
  ///   - scale: The pixels per unit of the document.
  ///   - path: The value of the environment variable `PATH`.
  /// - Returns: The PNG file.
  /// - Throws: ``ReportError`` of kind `missingTool` if the command is not installed, `internal` if it fails; `CocoaError` if its input
  ///   cannot be written or it cannot be started.
  package static func png(
    _ svg: String, scale: Double = 2, path: String = ProcessInfo.processInfo.environment["PATH"] ?? ""
  ) throws -> Data {
    let tool = path.split(separator: ":").map { "\($0)/rsvg-convert" }.first {
      FileManager.default.isExecutableFile(atPath: $0)
    }
    guard let tool else {
      throw ReportError(
        .missingTool,
        "--format png needs rsvg-convert, which is not in PATH; install it (Debian: apt install librsvg2-bin), or use --format svg."
      )
    }
    // A file, because a pipe in each direction could block both sides.
    let input = FileManager.default.temporaryDirectory.appendingPathComponent("wrn-dist-\(UUID().uuidString).svg")
    try Data(svg.utf8).write(to: input)
    defer { try? FileManager.default.removeItem(at: input) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: tool)
    process.arguments = ["--zoom", "\(scale)", "--format", "png", input.path]
    let output = Pipe()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    let png = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0, png.starts(with: [0x89, 0x50, 0x4E, 0x47]) else {
      throw ReportError(.internal, "\(tool) cannot convert the report's chart; use --format svg.")
    }
    return png
  }
}
