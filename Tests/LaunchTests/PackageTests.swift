import Foundation
import TestSupport
import Testing

/// `launch/package`: a `.deb` and a tarball of this build.
@Suite struct PackageTests {
  private static let root = ScriptFixture.repository
  private static let isRequested = ProcessInfo.processInfo.environment["WRN_TEST_PACKAGES"] == "1"

  private static func package(_ arguments: [String]) throws -> ProcessRun.Output {
    try ProcessRun(
      root.appendingPathComponent("launch/package").path, arguments,
      environment: MPIRun.environment(adding: ["WRN_SKIP_BUILD": "1"]), workingFolder: "/", limit: .seconds(1200)
    ).run()
  }

  @Test func thePackagesHaveTheirFilesAndDependencies() throws {
    let folder = try TemporaryDirectory()
    let output = try Self.package(["--output", folder.path])
    #expect(output.exitCode == 0, "\(output.standardError)")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    try #require(names.count == 2)
    #expect(names[0].firstMatch(of: /^wrn-dist-[0-9.]+-linux-\w+\.tar\.gz$/) != nil)
    #expect(names[1].firstMatch(of: /^wrn-dist_[0-9.]+_\w+\.deb$/) != nil)
    let deb = "\(folder.path)/\(names[1])"
    let tool = try BuiltProducts.installed("dpkg-deb")
    let dependencies = try ProcessRun(tool, ["--field", deb, "Depends"]).run().standardOutput
    for name in ["libopenmpi", "libopenblas", "libssl", "libc6 (>=", "openmpi-bin"] {
      #expect(dependencies.contains(name), "\(dependencies)")
    }
    let files = try ProcessRun(tool, ["--contents", deb]).run().standardOutput
    let tar = try BuiltProducts.installed("tar")
    let archive = try ProcessRun(tar, ["-tzf", "\(folder.path)/\(names[0])"]).run().standardOutput
    for name in ["bin/wrn-dist\n", "bin/wrn-dist-launch\n", "share/wrn-dist/launch/train\n"] {
      #expect(files.contains("./usr/\(name)") && archive.contains("/\(name)"))
    }
    for name in ["man/man1/wrn-dist-train.1.gz", "zsh/vendor-completions/_wrn-dist", "doc/wrn-dist/copyright"] {
      #expect(files.contains("./usr/share/\(name)\n"))
    }
    // Owned by root, whoever has built it.
    #expect(files.split(separator: "\n").allSatisfy { $0.contains(" root/root ") })
  }

  /// What is mounted in the new Debian is not removed with it.
  @Test func removingStaysInOneFileSystem() throws {
    let text = try String(contentsOf: Self.root.appendingPathComponent("launch/package"), encoding: .utf8)
    #expect(text.contains("trap 'rm -rf --one-file-system -- \"$temporary\"' EXIT"))
  }

  @Test(
    .enabled(
      if: isRequested,
      "skipped, because it downloads a Debian and takes minutes: set WRN_TEST_PACKAGES=1, as root"))
  func bothPackagesWorkInANewDebian() throws {
    let folder = try TemporaryDirectory()
    let output = try Self.package(["--output", folder.path, "--check"])
    #expect(output.exitCode == 0, "\(output.standardError)\n\(output.standardOutput)")
    #expect(output.standardOutput.contains("Both packages work in a new Debian without Swift."))
  }
}
