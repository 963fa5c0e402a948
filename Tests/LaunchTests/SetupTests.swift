import TestSupport
import Testing

@Suite struct SetupTests {
  private static let install = "apt-get install --yes --no-install-recommends"

  @Test func aCompleteMachineOnlyBuilds() throws {
    let fixture = try ScriptFixture()
    let output = try fixture.run("setup")
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.standardOutput.contains("All packages are installed."))
    #expect(!fixture.calls.contains { $0.hasPrefix("apt-get") })
    #expect(fixture.calls.last == "swift build -c release --product wrn-dist")
    #expect(output.standardOutput.contains("Ready: \(fixture.path)/.build/release/wrn-dist"))
  }

  @Test func exactlyTheMissingPackagesAreInstalledOnce() throws {
    let fixture = try ScriptFixture()
    try fixture.setInstalled(["pkg-config", "openmpi-bin", "libpng-dev", "libturbojpeg0-dev", "zlib1g-dev"])
    let first = try fixture.run("setup")
    #expect(first.exitCode == 0, "\(first.standardError)")
    #expect(first.standardOutput.contains("Installing libopenmpi-dev libopenblas-dev libssl-dev"))
    let wanted = ["apt-get update", "\(Self.install) libopenmpi-dev libopenblas-dev libssl-dev"]
    #expect(fixture.calls.filter { $0.hasPrefix("apt-get") } == wanted)
    let second = try fixture.run("setup")
    #expect(second.standardOutput.contains("All packages are installed."))
    #expect(fixture.calls.filter { $0.hasPrefix("apt-get") } == wanted)
  }

  /// Ubuntu's apt has no Chromium.
  @Test(arguments: ["debian", "ubuntu"]) func testPackagesNeedTheOption(distribution: String) throws {
    let fixture = try ScriptFixture()
    try fixture.stub(
      "grep",
      #"""
      [ "${@: -1}" = /etc/os-release ] || exec "$FIXTURE/tools/grep" "$@"
      "$FIXTURE/tools/grep" "${@:1:$#-1}" <<<"ID=\#(distribution)"
      """#)
    try fixture.setInstalled(
      [
        "pkg-config", "libopenmpi-dev", "openmpi-bin", "libopenblas-dev", "libssl-dev", "libpng-dev",
        "libturbojpeg0-dev", "zlib1g-dev", "util-linux", "iproute2", "curl",
      ])
    #expect(try fixture.run("setup").exitCode == 0)
    #expect(!fixture.calls.contains { $0.hasPrefix("apt-get") })
    let output = try fixture.run("setup", ["--test"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.standardOutput.contains("Ubuntu's apt has no Chromium") == (distribution == "ubuntu"))
    let missing = fixture.read("launch/packages").split(separator: "\n").compactMap { line in
      line.hasPrefix("test: ") ? String(line.dropFirst(6)) : nil
    }.filter {
      !["util-linux", "iproute2", "curl"].contains($0) && ($0 != "chromium" || distribution == "debian")
    }
    #expect(missing.count > 5)
    #expect(fixture.calls.contains("\(Self.install) \(missing.joined(separator: " "))"))
  }

  @Test func aUserInstallsWithSudo() throws {
    let fixture = try ScriptFixture()
    try fixture.stub("id", "echo 1000")
    try fixture.stub("sudo", #"exec "$@""#)
    try fixture.setInstalled([])
    let output = try fixture.run("setup")
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(fixture.calls.filter { $0.hasPrefix("sudo") }.count == 2)
    #expect(
      fixture.calls.contains(
        """
        \(Self.install) pkg-config libopenmpi-dev openmpi-bin libopenblas-dev libssl-dev libpng-dev libturbojpeg0-dev \
        zlib1g-dev
        """))
  }

  @Test func withoutSudoTheCommandIsReported() throws {
    let fixture = try ScriptFixture()
    try fixture.stub("id", "echo 1000")
    try fixture.setInstalled([
      "pkg-config", "libopenmpi-dev", "openmpi-bin", "libssl-dev", "libpng-dev", "libturbojpeg0-dev", "zlib1g-dev",
    ])
    let output = try fixture.run("setup")
    #expect(output.exitCode == 69)
    #expect(
      output.standardError
        == "setup: the packages libopenblas-dev are missing and you are neither root nor is sudo "
        + "installed: ask the administrator to run '\(Self.install) libopenblas-dev'.\n")
    #expect(!fixture.calls.contains { $0.hasPrefix("apt-get") || $0.hasPrefix("swift build") })
  }

  @Test func withoutAptTheMissingPackagesAreReported() throws {
    let fixture = try ScriptFixture()
    try fixture.remove("apt-get")
    try fixture.remove("dpkg-query")
    let output = try fixture.run("setup")
    #expect(output.exitCode == 69)
    #expect(output.standardError.contains("no apt-get: install the equivalents of the Debian"))
    #expect(output.standardError.contains("libopenmpi-dev"))
  }

  @Test(arguments: ["Swift version 6.1.2 (swift-6.1.2-RELEASE)", "Swift version 5.10", "nonsense"])
  func anOldSwiftIsRefused(version: String) throws {
    let fixture = try ScriptFixture()
    try fixture.stub("swift", "echo '\(version)'")
    let output = try fixture.run("setup")
    #expect(output.exitCode == 69)
    #expect(output.standardError.contains("Swift 6.2 or newer is needed"))
    #expect(output.standardError.contains("https://www.swift.org/install"))
  }

  @Test(arguments: ["Swift version 6.2 (swift-6.2-RELEASE)", "Apple Swift version 7.0.1"])
  func aNewSwiftIsAccepted(version: String) throws {
    let fixture = try ScriptFixture()
    try fixture.stub("swift", "[ \"$1\" != --version ] || echo '\(version)'")
    #expect(try fixture.run("setup").exitCode == 0)
  }

  @Test func aMissingSwiftIsReported() throws {
    let fixture = try ScriptFixture()
    try fixture.remove("swift")
    let output = try fixture.run("setup")
    #expect(output.exitCode == 69)
    #expect(output.standardError.contains("swift is not in your PATH"))
  }

  @Test func theBuildCanBeSkipped() throws {
    let fixture = try ScriptFixture()
    let output = try fixture.run("setup", environment: ["WRN_SKIP_BUILD": "1"])
    #expect(output.exitCode == 0)
    #expect(!fixture.calls.contains { $0.hasPrefix("swift build") })
  }

  @Test func failuresOfInstallationAndBuildAreReported() throws {
    let fixture = try ScriptFixture()
    try fixture.stub("swift", "[ \"$1\" = --version ] && echo 'Swift version 6.3' || exit 7")
    #expect(try fixture.run("setup").exitCode == 7)
    try fixture.setInstalled([])
    try fixture.stub("apt-get", "[ \"$1\" = update ] || exit 100")
    let output = try fixture.run("setup")
    #expect(output.exitCode == 69)
    #expect(output.standardError.contains("could not be installed"))
  }

  @Test func allTestsShareOneBuild() throws {
    let fixture = try ScriptFixture()
    let output = try fixture.run("test", ["--filter", "Some Tests"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    let flags = "-c release --explicit-target-dependency-import-check error"
    #expect(
      fixture.calls.filter { $0.hasPrefix("swift") && !$0.hasSuffix("--version") } == [
        "swift build \(flags) --build-tests",
        "swift test \(flags) --skip-build --filter Some Tests",
      ])
    #expect(fixture.calls.contains { $0.hasPrefix("dpkg-query") && $0.hasSuffix(" shellcheck") })
  }
}
