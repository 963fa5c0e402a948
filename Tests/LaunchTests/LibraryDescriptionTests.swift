import Foundation
import TestSupport
import Testing

/// `launch/pkg-config-files` with the real pkg-config, which knows only the files of a test.
@Suite struct LibraryDescriptionTests {
  private static func fixture() throws -> ScriptFixture {
    let fixture = try ScriptFixture()
    let tool = try BuiltProducts.installed("pkg-config")
    try fixture.stub("pkg-config", #"PKG_CONFIG_LIBDIR="$FIXTURE/known" exec \#(tool) "$@""#)
    try fixture.stub("cc", "exit 0")
    return fixture
  }

  private static func describe(_ name: String, _ fixture: ScriptFixture, cflags: String, libraries: String) throws {
    try fixture.write(
      "known/\(name).pc", "Name: \(name)\nDescription: x\nVersion: 1\nCflags: \(cflags)\nLibs: \(libraries)\n")
  }

  /// An mpicc as a module of Open MPI 4 or 5 has it.
  private static func addMPICC(_ fixture: ScriptFixture, version: String, directory: String) throws {
    try fixture.stub(
      "mpicc",
      """
      case $1 in
        --showme:version) echo 'mpicc: Open MPI \(version) (Language: C)' ;;
        --showme:libdirs) echo \(directory)/lib ;;
        --showme:compile) echo -I\(directory)/include -I\(directory)/include -pthread ;;
        --showme:link)
          echo -pthread -L\(directory)/lib -Wl,-rpath -Wl,\(directory)/lib -Wl,--enable-new-dtags -lmpi ;;
      esac
      """)
  }

  @Test(arguments: ["4.1.6", "5.0.3"])
  func mpiccDescribesAnOpenMPIWithoutAFile(version: String) throws {
    let fixture = try Self.fixture()
    try Self.addMPICC(fixture, version: version, directory: "/opt/mpi")
    let output = try fixture.run("pkg-config-files")
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.standardOutput.contains("Using Open MPI \(version) of \(fixture.path)/stubs/mpicc"))
    let lines = fixture.read(".build/pkgconfig/ompi-c.pc").split(separator: "\n").map {
      $0.trimmingCharacters(in: .whitespaces)
    }
    #expect(lines.contains("Cflags: -I/opt/mpi/include"))
    #expect(lines.contains("Libs: -L/opt/mpi/lib -lmpi"))
  }

  @Test func theLoadedModuleReplacesAnotherOpenMPI() throws {
    let fixture = try Self.fixture()
    try Self.addMPICC(fixture, version: "5.0.3", directory: "/opt/mpi")
    try Self.describe("ompi-c", fixture, cflags: "-I/usr/lib/ompi/include", libraries: "-L/usr/lib/ompi/lib -lmpi")
    #expect(try fixture.run("pkg-config-files").exitCode == 0)
    #expect(fixture.read(".build/pkgconfig/ompi-c.pc").contains("-L/opt/mpi/lib"))
    // After the module is unloaded, pkg-config's is used again.
    try fixture.remove("mpicc")
    #expect(try fixture.run("pkg-config-files").exitCode == 0)
    #expect(fixture.read(".build/pkgconfig/ompi-c.pc").isEmpty)
  }

  @Test func theSameOpenMPINeedsNoFile() throws {
    let fixture = try Self.fixture()
    try Self.addMPICC(fixture, version: "4.1.4", directory: "/usr/lib/ompi")
    try Self.describe("ompi-c", fixture, cflags: "-I/usr/lib/ompi/include", libraries: "-L/usr/lib/ompi/lib -lmpi")
    #expect(try fixture.run("pkg-config-files").exitCode == 0)
    #expect(fixture.read(".build/pkgconfig/ompi-c.pc").isEmpty)
  }

  @Test func anotherMPIIsRefused() throws {
    let fixture = try Self.fixture()
    try fixture.stub("mpicc", "exit 1")
    let output = try fixture.run("pkg-config-files")
    #expect(output.exitCode == 69)
    #expect(output.standardError.contains("mpicc does not belong to Open MPI: load a module of Open MPI 4 or 5"))
  }

  @Test func anotherCBLASIsFound() throws {
    let fixture = try Self.fixture()
    try Self.describe("flexiblas", fixture, cflags: "-I/opt/fb/include", libraries: "-L/opt/fb/lib -lflexiblas")
    let output = try fixture.run("pkg-config-files")
    #expect(output.exitCode == 0 && output.standardOutput.contains("Using the CBLAS of flexiblas"))
    let file = fixture.read(".build/pkgconfig/openblas.pc")
    #expect(file.contains("Cflags: -I/opt/fb/include") && file.contains("Libs: -L/opt/fb/lib -lflexiblas"))
    // OpenBLAS, once it is there, needs no file; a CBLAS that does not compile is not taken.
    try Self.describe("openblas", fixture, cflags: "", libraries: "-lopenblas")
    #expect(try fixture.run("pkg-config-files").exitCode == 0)
    #expect(fixture.read(".build/pkgconfig/openblas.pc").isEmpty)
    try fixture.stub("cc", "exit 1")
    let refused = try fixture.run("pkg-config-files", environment: ["WRN_CBLAS": "flexiblas"])
    #expect(refused.exitCode == 69)
    #expect(refused.standardError.contains("WRN_CBLAS=flexiblas: pkg-config does not know a library with cblas.h"))
  }

  private static let manifest = #"""
    .systemLibrary(name: "A", pkgConfig: "ompi-c"),
    .systemLibrary(name: "B", pkgConfig: "openblas"),

    """#

  @Test func setupInstallsNothingIfModulesHaveAllLibraries() throws {
    let fixture = try Self.fixture()
    try fixture.write("Package.swift", Self.manifest)
    try fixture.setInstalled([])
    try Self.addMPICC(fixture, version: "5.0.3", directory: "/opt/mpi")
    try Self.describe("openblas", fixture, cflags: "", libraries: "-lopenblas")
    let output = try fixture.run("setup")
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.standardOutput.contains("pkg-config finds all libraries; no package is installed."))
    #expect(!fixture.calls.contains { $0.hasPrefix("apt-get") })
    #expect(fixture.calls.last == "swift build -c release --product wrn-dist")
  }

  /// An mpicc of another MPI is an error only if no package provides Open MPI.
  @Test(arguments: [true, false]) func setupInstallsPackagesThatCureAnError(isCured: Bool) throws {
    let fixture = try Self.fixture()
    try fixture.write("Package.swift", Self.manifest)
    try fixture.setInstalled([])
    try fixture.stub("mpicc", "exit 1")
    try Self.describe("packages/ompi-c", fixture, cflags: "", libraries: "-lmpi")
    try fixture.stub("apt-get", isCured ? #"cat "$FIXTURE/known/packages/ompi-c.pc" >"$FIXTURE/known/ompi-c.pc""# : "")
    let output = try fixture.run("setup")
    #expect(fixture.calls.contains { $0.hasPrefix("apt-get install ") && $0.contains(" libopenmpi-dev ") })
    if isCured {
      #expect(output.exitCode == 0 && output.standardError.isEmpty, "\(output.standardError)")
      #expect(fixture.calls.last == "swift build -c release --product wrn-dist")
    } else {
      #expect(output.exitCode == 69)
      #expect(output.standardError.contains("mpicc does not belong to Open MPI"))
    }
  }

  @Test func withoutAptTheAbsentLibrariesAreNamed() throws {
    let fixture = try Self.fixture()
    try fixture.write("Package.swift", Self.manifest)
    for name in ["apt-get", "dpkg-query", "mpirun"] { try fixture.remove(name) }
    try Self.describe("openblas", fixture, cflags: "", libraries: "-lopenblas")
    let output = try fixture.run("setup")
    #expect(output.exitCode == 69)
    #expect(
      output.standardError == "setup: this system has no apt-get: install mpirun ompi-c (names of pkg-config and "
        + "programs), or load modules that have them (docs/install.md).\n")
    // The error of another MPI is more specific.
    try fixture.stub("mpicc", "exit 1")
    let other = try fixture.run("setup")
    #expect(other.exitCode == 69 && other.standardError.contains("mpicc does not belong to Open MPI"))
  }
}
