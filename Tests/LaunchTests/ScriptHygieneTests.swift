import Foundation
import TestSupport
import Testing

@Suite struct ScriptHygieneTests {
  private static let scripts = [
    "setup", "test", "quickstart", "train", "supervise", "fetch-cifar10", "emulate-hosts", "slurm.sbatch", "pbs.sh",
    "slurm-sweep.sbatch", "emulate-slurm", "install", "package", "docs", "pkg-config-files", "fuzz",
  ]
  private static let shellcheck = try? BuiltProducts.installed("shellcheck")

  @Test(arguments: scripts)
  func helpExplainsAndDoesNothing(script: String) throws {
    let fixture = try ScriptFixture()
    for option in ["--help", "-h"] {
      let output = try fixture.run(script, [option])
      #expect(output.exitCode == 0, "\(output.standardError)")
      #expect(output.standardOutput.contains("launch/\(script)"))
      #expect(!output.standardOutput.contains("set -euo"))
      #expect(!output.standardOutput.hasPrefix("#"))
    }
    #expect(fixture.calls.isEmpty)
  }

  @Test(arguments: scripts)
  func everyScriptStopsAtErrors(script: String) throws {
    let text = try ScriptFixture().read("launch/\(script)")
    #expect(text.contains("\nset -euo pipefail\n"))
  }

  /// launch/test installs shellcheck, so the condition holds wherever the tests are run by it.
  @Test(.enabled(if: shellcheck != nil, "shellcheck is not installed; run launch/setup --test"))
  func shellcheckFindsNothing() throws {
    let output = try ProcessRun(
      #require(Self.shellcheck), ["-x"] + (Self.scripts + ["common.sh", "wrn-dist-launch"]).map { "launch/\($0)" },
      workingFolder: ScriptFixture.repository.path
    ).run()
    #expect(output.exitCode == 0, "\(output.standardOutput)")
  }
}
