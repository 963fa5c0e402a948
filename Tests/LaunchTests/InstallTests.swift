import Foundation
import TestSupport
import Testing

/// `launch/install` with the objects of this build, into a temporary prefix.
@Suite struct InstallTests {
  /// One installation for all tests, because linking takes seconds.
  private static let installation = Result { try Installation() }

  private struct Installation {
    let folder: TemporaryDirectory
    var prefix: String { "\(folder.path)/a prefix" }
    let output: ProcessRun.Output

    init() throws {
      folder = try TemporaryDirectory()
      output = try Self.install(["--prefix", "\(folder.path)/a prefix"])
    }

    static func install(_ arguments: [String], environment: [String: String] = [:]) throws -> ProcessRun.Output {
      try ProcessRun(
        ScriptFixture.repository.appendingPathComponent("launch/install").path, arguments,
        environment: MPIRun.environment(adding: environment.merging(["WRN_SKIP_BUILD": "1"]) { $1 }),
        workingFolder: "/", limit: .seconds(300)
      ).run()
    }

    /// Runs the installed program.
    func run(_ arguments: [String]) throws -> ProcessRun.Output {
      try ProcessRun(
        "\(prefix)/bin/wrn-dist", arguments, environment: MPIRun.environment(adding: ["LD_LIBRARY_PATH": ""]),
        workingFolder: folder.path, limit: .seconds(120)
      ).run()
    }

    func read(_ name: String) throws -> String {
      try String(contentsOfFile: "\(prefix)/\(name)", encoding: .utf8)
    }
  }

  /// Programs that precede those of this machine in PATH, among them a `swiftc` that copies this build's program.
  private struct Stubs {
    private let folder: TemporaryDirectory

    init() throws {
      folder = try TemporaryDirectory()
      try add(
        "swiftc",
        #"""
        if [ "$1" != -print-target-info ]; then
          echo "$*" >'\#(folder.path)/link'
          while [ "$1" != -o ]; do shift; done
          exec cp '\#(BuiltProducts.executable("wrn-dist"))' "$2"
        fi
        """#)
    }

    /// Adds a program that runs `body`, and then the one of this machine.
    func add(_ name: String, _ body: String) throws {
      try folder.writeScript(name, "#!/bin/bash\n\(body)\nexec '\(BuiltProducts.installed(name))' \"$@\"\n")
    }

    /// The words of the last command that links.
    var link: String { folder.read("link") }

    func install(_ arguments: [String]) throws -> ProcessRun.Output {
      let path = MPIRun.environment(adding: [:])["PATH"] ?? ""
      return try Installation.install(arguments, environment: ["PATH": "\(folder.path):\(path)"])
    }
  }

  private static func names(_ path: String) -> Set<String> {
    Set((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [])
  }

  /// Runs the program of this build.
  private static func built(_ arguments: [String], in folder: String = "/") throws -> ProcessRun.Output {
    try ProcessRun(
      BuiltProducts.executable("wrn-dist"), arguments, environment: MPIRun.environment(adding: [:]),
      workingFolder: folder, limit: .seconds(120)
    ).run()
  }

  @Test func theProgramNeedsNoSwift() throws {
    let installation = try Self.installation.get()
    #expect(installation.output.exitCode == 0, "\(installation.output.standardError)")
    #expect(try installation.run(["--version"]).standardOutput == Self.built(["--version"]).standardOutput)
    let libraries = try ProcessRun(BuiltProducts.installed("ldd"), ["\(installation.prefix)/bin/wrn-dist"]).run()
    #expect(libraries.standardOutput.contains("libmpi.so"))
    for name in ["libswift", "libFoundation", "lib_Foundation", "libdispatch", "not found"] {
      #expect(!libraries.standardOutput.contains(name), "\(libraries.standardOutput)")
    }
  }

  @Test func itTakesAtMost60Megabytes() throws {
    let installation = try Self.installation.get()
    let files = try #require(FileManager.default.enumerator(atPath: installation.prefix))
    var size = 0
    for case let name as String in files {
      let attributes = try FileManager.default.attributesOfItem(atPath: "\(installation.prefix)/\(name)")
      size += (attributes[.size] as? NSNumber)?.intValue ?? 0
    }
    #expect((20_000_000...60_000_000).contains(size), "\(size) bytes")
  }

  /// The installed program has no locales of other languages; numbers, dates and errors must not need them.
  @Test func itWritesTheSameFilesAsTheBuiltProgram() throws {
    let installation = try Self.installation.get()
    let flags = [
      "train", "--data", "synthetic", "--depth", "10", "--batch-size", "16", "--steps", "2", "--eval-every", "0",
      "--learning-rate", "0.00125", "--threads", "1",
    ]
    let folder = try TemporaryDirectory()
    #expect(try installation.run(flags + ["--output-dir", "\(folder.path)/installed"]).exitCode == 0)
    #expect(try Self.built(flags + ["--output-dir", "\(folder.path)/built"]).exitCode == 0)
    let settings = folder.read("installed/config.yaml")
    #expect(settings.contains("learning-rate: 0.00125\n"), "\(settings)")
    #expect(settings.replacing("/installed", with: "/built") == folder.read("built/config.yaml"))
    // A settings file goes through Yams's regular expressions.
    let again = ["train", "--config", "\(folder.path)/installed/config.yaml", "--output-dir", "\(folder.path)/again"]
    #expect(try installation.run(again).exitCode == 0)
    #expect(folder.read("again/config.yaml").replacing("/again", with: "/installed") == settings)
    // The default output directory is named after the date.
    #expect(try installation.run(flags).exitCode == 0)
    let run = try #require(Self.names("\(installation.folder.path)/runs").first)
    #expect(run.firstMatch(of: /^[0-9]{8}-[0-9]{6}-WRN-10-1$/) != nil, "\(run)")
    // The system's error texts.
    let missing = ["inspect", "\(folder.path)/missing"]
    let (installed, built) = (try installation.run(missing), try Self.built(missing))
    #expect(installed.exitCode == 65 && installed.standardError == built.standardError, "\(installed.standardError)")
  }

  @Test(arguments: [
    ("bash", "share/bash-completion/completions/wrn-dist"), ("zsh", "share/zsh/site-functions/_wrn-dist"),
    ("fish", "share/fish/vendor_completions.d/wrn-dist.fish"),
  ])
  func completionsAreThoseOfTheProgram(shell: String, path: String) throws {
    let text = try Self.installation.get().read(path)
    #expect(try text == Self.built(["--generate-completion-script", shell]).standardOutput)
    #expect(text.contains("widen-factor") && text.contains("allreduce"))
    // The shells read them without an error.
    let check = try ProcessRun(
      BuiltProducts.installed(shell), ["-n", "\(Self.installation.get().prefix)/\(path)"]
    ).run()
    #expect(check.exitCode == 0, "\(check.standardError)")
  }

  /// Help and manual pages come from different outputs of the program.
  @Test func manualPagesHaveEveryCommandAndFlag() throws {
    let installation = try Self.installation.get()
    var pages: Set<String> = []
    func check(_ words: [String]) throws {
      let name = (["wrn-dist"] + words).joined(separator: "-") + ".1"
      pages.insert(name)
      let page = try installation.read("share/man/man1/\(name)").replacing("\\-", with: "-")
      let flags = page.split(separator: "\n").filter { $0.hasPrefix(".It Sy ") }
      let help = try Self.built(words + ["--help"]).standardOutput
      for match in help.matches(of: /(?m)^  (?:-\w, )?(--[a-z][a-z0-9-]*)/) {
        let flag = match.output.1
        #expect(flags.contains { $0.contains(flag) }, "\(name) lacks \(flag)")
      }
      guard let commands = help.split(separator: "SUBCOMMANDS:").dropFirst().first else { return }
      for match in commands.matches(of: /(?m)^  ([a-z-]+)( |$)/) { try check(words + [String(match.output.1)]) }
    }
    try check([])
    #expect(pages.count > 12)
    #expect(Self.names("\(installation.prefix)/share/man/man1") == pages)
    let mandoc = try BuiltProducts.installed("mandoc")
    let paths = pages.sorted().map { "\(installation.prefix)/share/man/man1/\($0)" }
    let lint = try ProcessRun(mandoc, ["-Tlint", "-Wwarning"] + paths).run()
    #expect(lint.exitCode == 0 && lint.standardOutput.isEmpty, "\(lint.standardOutput)")
  }

  @Test func installedScriptsStartTheInstalledProgram() throws {
    let installation = try Self.installation.get()
    func launch(_ arguments: [String]) throws -> ProcessRun.Output {
      try ProcessRun(
        "\(installation.prefix)/bin/wrn-dist-launch", arguments, environment: MPIRun.environment(adding: [:]),
        workingFolder: installation.folder.path
      ).run()
    }
    let train = try launch(["train", "-np", "2", "--dry-run", "--", "--steps", "3"])
    #expect(train.exitCode == 0, "\(train.standardError)")
    let program = "\(installation.prefix)/bin/wrn-dist".replacing(" ", with: "\\ ")
    #expect(train.standardOutput.contains("\(program) train --steps 3\n"), "\(train.standardOutput)")
    let path = try launch(["--path", "slurm.sbatch"])
    #expect(path.standardOutput == "\(installation.prefix)/share/wrn-dist/launch/slurm.sbatch\n")
    let scripts = try launch([])
    #expect(scripts.exitCode == 0 && scripts.standardOutput.contains("\n  train\n"))
    #expect(!scripts.standardOutput.contains("setup") && !scripts.standardOutput.contains("common.sh"))
    for name in ["setup", "../launch/train", ".", "common.sh"] {
      let refused = try launch([name])
      #expect(refused.exitCode == 64, "\(name)")
      #expect(refused.standardError == "wrn-dist-launch: there is no script '\(name)'; see --help.\n")
    }
    #expect(try installation.read("share/wrn-dist/hostfiles/localhost").contains("localhost slots=4"))
  }

  @Test func uninstallingRemovesExactlyWhatWasInstalled() throws {
    let folder = try TemporaryDirectory()
    // An older installation, and a file of the user.
    try folder.write("prefix/bin/wrn-dist-old", "")
    try folder.write("prefix/bin/mine", "")
    try folder.write("prefix/share/wrn-dist/installed-files", "bin/wrn-dist-old\nbin/missing\n")
    let prefix = ["--prefix", "\(folder.path)/prefix"]
    #expect(try Installation.install(prefix).exitCode == 0)
    #expect(Self.names("\(folder.path)/prefix/bin") == ["wrn-dist", "wrn-dist-launch", "mine"])
    let output = try Installation.install(["--uninstall"] + prefix)
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(Self.names("\(folder.path)/prefix") == ["bin"])
    #expect(Self.names("\(folder.path)/prefix/bin") == ["mine"])
    let again = try Installation.install(["--uninstall"] + prefix)
    #expect(again.exitCode == 69)
    #expect(again.standardError.contains("has no installation of wrn-dist"))
  }

  @Test func anInterruptedInstallationCanBeRemoved() throws {
    let folder = try TemporaryDirectory()
    let stubs = try Stubs()
    // One of the last files cannot be written.
    try stubs.add("install", "case $* in *.fish) exit 1 ;; esac")
    let prefix = ["--prefix", "\(folder.path)/prefix"]
    #expect(try stubs.install(prefix).exitCode == 1)
    #expect(Self.names("\(folder.path)/prefix/bin") == ["wrn-dist", "wrn-dist-launch"])
    let output = try Installation.install(["--uninstall"] + prefix)
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(Self.names("\(folder.path)/prefix").isEmpty)
  }

  @Test func aFailureBeforeTheFirstFileKeepsTheOlderInstallation() throws {
    let folder = try TemporaryDirectory()
    try folder.write("prefix/bin/wrn-dist-old", "")
    try folder.write("prefix/share/wrn-dist/installed-files", "bin/wrn-dist-old\n")
    let stubs = try Stubs()
    // The manual pages cannot be made.
    try stubs.add("python3", "case $1 in */reference) exit 1 ;; esac")
    #expect(try stubs.install(["--prefix", "\(folder.path)/prefix"]).exitCode == 1)
    #expect(Self.names("\(folder.path)/prefix/bin") == ["wrn-dist-old"])
    #expect(folder.read("prefix/share/wrn-dist/installed-files") == "bin/wrn-dist-old\n")
  }

  /// The program remembers the directories of libraries that the loader does not search by itself.
  @Test func librariesOfModulesAreFoundAtRunTime() throws {
    let folder = try TemporaryDirectory()
    let stubs = try Stubs()
    let modules = ["/usr/lib64/openmpi/lib", "/usr/lib/openmpi/lib", "/lib64/module", "/opt/mpi/lib"]
    let system = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/lib/x86_64-linux-gnu/openmpi/lib"]
    try stubs.add("pkg-config", "echo \((modules + system).map { "-L\($0)" }.joined(separator: " ")) -lmpi; exit")
    let output = try stubs.install(["--prefix", "\(folder.path)/prefix"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    let remembered = stubs.link.matches(of: /-rpath -Xlinker (\S+)/).map { String($0.output.1) }
    #expect(remembered == modules)
  }

  @Test(arguments: ["../victim", "/etc/victim", "bin/../../victim"])
  func uninstallingStaysInsideThePrefix(name: String) throws {
    let folder = try TemporaryDirectory()
    try folder.write("victim", "")
    try folder.write("prefix/share/wrn-dist/installed-files", "\(name)\n")
    let output = try Installation.install(["--uninstall", "--prefix", "\(folder.path)/prefix"])
    #expect(output.exitCode == 65)
    #expect(output.standardError.contains("names '\(name)', which is not in"))
    #expect(Self.names(folder.path).contains("victim"))
  }

  @Test func badInputIsReported() throws {
    let folder = try TemporaryDirectory()
    try folder.write("file", "")
    let blocked = try Installation.install(["--prefix", "\(folder.path)/file/prefix"])
    #expect(blocked.exitCode == 73)
    #expect(blocked.standardError.contains("cannot be written; give another --prefix."))
    #expect(try Installation.install(["--prefix"]).exitCode == 64)
    #expect(try Installation.install(["--prefx", "x"]).exitCode == 64)
  }
}
