import Foundation
import TestSupport
import Testing

/// The help texts are part of the interface; `Tests/CommandLineTests/Snapshots/update` records an intended change.
@Suite struct HelpTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Snapshots")

  @Test(arguments: [
    "wrn-dist", "train", "sweep", "status", "evaluate", "predict", "export", "report", "inspect", "benchmark-step",
    "benchmark-allreduce", "benchmark-convolution", "benchmark-accuracy", "data", "data-synthesize", "data-verify",
    "doctor", "plan",
  ])
  func helpIsTheSnapshot(name: String) throws {
    let words = name == "wrn-dist" ? [] : name.split(separator: "-").map(String.init)
    let output = try Job(TemporaryDirectory(), words + ["--help"]).succeed()
    let snapshot = try String(contentsOf: Self.folder.appendingPathComponent("\(name).txt"), encoding: .utf8)
    #expect(output.standardOutput == snapshot)
    #expect(output.standardError.isEmpty)
  }

  @Test func helpAndVersionUnderMPIRunArePrintedOnce() throws {
    let folder = try TemporaryDirectory()
    let help = try Job(folder, ranks: 3, ["--help"]).succeed()
    #expect(help.standardOutput.split(separator: "USAGE:").count == 2)
    let version = try Job(folder, ranks: 2, ["--version"]).succeed()
    #expect(version.lines.count == 1)
  }
}
