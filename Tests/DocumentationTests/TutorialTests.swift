import Foundation
import TestSupport
import Testing

/// Runs every command of `docs/tutorial.md`, as it is written there.
@Suite struct TutorialTests {
  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// The lines of the document's shell blocks, in order.
  private static func commands() throws -> [String] {
    let text = try String(contentsOf: root.appendingPathComponent("docs/tutorial.md"), encoding: .utf8)
    let blocks = text.matches(of: /(?ms)^```sh\n(.*?)^```/)
    return blocks.flatMap { $0.output.1.split(separator: "\n").map(String.init) }
  }

  @Test func everyCommandSucceeds() throws {
    let folder = try TemporaryDirectory()
    // A clone that is built already: the build of these tests.
    for name in ["launch", "hostfiles"] { try folder.copyScripts(Self.root.appendingPathComponent(name)) }
    try FileManager.default.copyItem(
      atPath: Self.root.appendingPathComponent("Package.swift").path, toPath: "\(folder.path)/Package.swift")
    let program = try BuiltProducts.executable("wrn-dist")
    try FileManager.default.createDirectory(atPath: "\(folder.path)/.build", withIntermediateDirectories: false)
    try FileManager.default.createSymbolicLink(
      atPath: "\(folder.path)/.build/release",
      withDestinationPath: URL(fileURLWithPath: program).deletingLastPathComponent().path)

    let commands = try Self.commands()
    #expect(commands.contains("launch/quickstart") && commands.count > 8)
    let script = (["set -exuo pipefail"] + commands).joined(separator: "\n")
    try folder.writeScript("tutorial", "#!/usr/bin/env bash\n\(script)\n")
    let output = try ProcessRun(
      "\(folder.path)/tutorial", environment: MPIRun.environment(adding: ["WRN_SKIP_BUILD": "1"]),
      workingFolder: folder.path, limit: .seconds(900)
    ).run()
    #expect(output.exitCode == 0, "\(output.standardError.suffix(3000))")
    for run in ["narrow", "wide"] {
      let metrics = folder.read("runs/\(run)/metrics.jsonl").split(separator: "\n")
      #expect(metrics.count { $0.contains(#""kind":"train""#) } == 60, "\(run)")
    }
    #expect(folder.read("runs/report.html").contains("</html>"))
  }
}
