import TestSupport
import Testing

/// Scripts in `share/wrn-dist/launch` of a prefix, where there is no repository.
@Suite struct InstalledLayoutTests {
  /// Runs an installed copy of a script in a working directory.
  private static func run(_ script: String, _ fixture: ScriptFixture, _ arguments: [String] = [], in folder: String)
    throws
    -> ProcessRun.Output
  {
    for name in ["common.sh", "train", "quickstart"] {
      try fixture.write("prefix/share/wrn-dist/launch/\(name)", fixture.read("launch/\(name)"))
    }
    try fixture.write("prefix/share/wrn-dist/hostfiles/localhost", fixture.read("hostfiles/localhost"))
    let chmod = try ProcessRun(
      BuiltProducts.installed("chmod"), ["-R", "+x", "\(fixture.path)/prefix/share/wrn-dist/launch"]
    ).run()
    try #require(chmod.exitCode == 0)
    return try ProcessRun(
      "\(fixture.path)/prefix/share/wrn-dist/launch/\(script)", arguments,
      environment: [
        "PATH": "\(fixture.path)/stubs:\(fixture.path)/tools", "FIXTURE": fixture.path, "HOME": fixture.path,
      ],
      workingFolder: folder, limit: .seconds(60)
    ).run()
  }

  @Test func theProgramIsThatOfThePrefix() throws {
    let fixture = try ScriptFixture()
    let output = try Self.run("train", fixture, ["-np", "2", "--dry-run"], in: "/")
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.standardOutput.contains(" \(fixture.path)/prefix/bin/wrn-dist train\n"), "\(output.standardOutput)")
  }

  @Test func aMissingMPIIsNotBlamedOnTheRepository() throws {
    let fixture = try ScriptFixture()
    try fixture.remove("mpirun")
    let output = try Self.run("train", fixture, in: "/")
    #expect(output.exitCode == 69)
    #expect(
      output.standardError == "train: mpirun is not in your PATH: install Open MPI or load its module first.\n")
  }

  @Test func quickstartTrainsInTheWorkingDirectory() throws {
    let fixture = try ScriptFixture()
    let folder = try TemporaryDirectory()
    try fixture.write("prefix/bin/wrn-dist", "")
    _ = try ProcessRun(BuiltProducts.installed("chmod"), ["+x", "\(fixture.path)/prefix/bin/wrn-dist"]).run()
    let output = try Self.run("quickstart", fixture, in: folder.path)
    #expect(output.exitCode == 0, "\(output.standardError)")
    let command = try #require(fixture.calls.last { $0.hasPrefix("mpirun") })
    #expect(command.contains("--output-dir \(folder.path)/runs/quickstart-"), "\(command)")
    #expect(!fixture.calls.contains { $0.hasPrefix("swift") || $0.hasPrefix("apt-get") })
    // The next steps are those of an installation.
    #expect(
      output.lines.last == "      wrn-dist-launch fetch-cifar10 && wrn-dist-launch train -np 4 -- --steps 5000 "
        + "--output-dir runs/first")
    #expect(!output.standardOutput.contains("launch/test"))
  }
}
