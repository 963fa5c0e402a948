import Glibc
import TestSupport
import Testing

@Suite struct TrainScriptTests {
  private func command(
    _ arguments: [String], cores: Int = 8, threadsPerCore: Int = 1,
    hosts: String? = nil
  ) throws -> String {
    let fixture = try ScriptFixture()
    try fixture.setCores(cores, threadsPerCore: threadsPerCore)
    var words = ["--dry-run"]
    if let hosts { words += ["--hostfile", try fixture.write("hosts", hosts)] }
    let output = try fixture.run("train", words + arguments)
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(!fixture.calls.contains { $0.hasPrefix("mpirun") }, "a dry run starts nothing")
    return (output.lines.last ?? "").replacingOccurrences(of: fixture.path, with: "ROOT")
  }

  private static let end =
    "-x OPENBLAS_NUM_THREADS=1 ROOT/.build/release/wrn-dist train"
  private static let oversubscribed = "--oversubscribe --bind-to none --mca mpi_yield_when_idle 1"
  private static let keepalive =
    "--mca oob_tcp_keepalive_time 10 --mca oob_tcp_keepalive_intvl 5 "
    + "--mca oob_tcp_keepalive_probes 3"
  private static let fragments =
    "--mca btl_tcp_flags 1 --mca btl_tcp_max_send_size 32768 --mca btl_tcp_sndbuf 131072"

  @Test(arguments: [
    (1, 8, "--map-by slot:PE=8 --bind-to core"), (2, 8, "--map-by slot:PE=4 --bind-to core"),
    (3, 8, "--map-by slot:PE=2 --bind-to core"), (4, 8, "--map-by slot:PE=2 --bind-to core"),
    (8, 8, "--map-by slot:PE=1 --bind-to core"), (2, 2, "--map-by slot:PE=1 --bind-to core"),
    (9, 8, oversubscribed), (4, 2, oversubscribed), (2, 1, oversubscribed),
  ])
  func coresAreDividedOrOversubscribed(ranks: Int, cores: Int, placement: String) throws {
    #expect(
      try command(["-np", "\(ranks)"], cores: cores)
        == "$ mpirun -np \(ranks) \(placement) \(Self.end)")
  }

  /// Version 5 reads the settings of mpirun itself under other names.
  @Test func settingsSuitTheVersionOfOpenMPI() throws {
    let fixture = try ScriptFixture()
    let hosts = try fixture.write("hosts", "a slots=2\nb slots=2\n")
    let arguments = [
      "--dry-run", "--hostfile", hosts, "--interface", "eth0", "--mca", "plm_rsh_agent", "agent", "--share-cores",
    ]
    func words(_ version: String) throws -> String {
      let output = try fixture.run("train", arguments, environment: ["MPI_VERSION": version])
      #expect(output.exitCode == 0, "\(output.standardError)")
      return output.lines.last ?? ""
    }
    let old = try words("4.1.6")
    #expect(old.contains("--oversubscribe --bind-to none --mca mpi_yield_when_idle 1 "))
    #expect(old.contains("--mca oob_tcp_if_include eth0 \(Self.keepalive) "))
    #expect(old.contains("--mca plm_rsh_agent agent ") && !old.contains("prte"))
    let new = try words("5.0.3")
    #expect(new.contains("--map-by :OVERSUBSCRIBE --bind-to none --mca mpi_yield_when_idle 1 "))
    #expect(
      new.contains(
        "--mca btl_tcp_if_include eth0 --prtemca prte_if_include eth0 --prtemca prte_keepalive_time 10 "
          + "--prtemca prte_keepalive_intvl 5 --prtemca prte_keepalive_probes 3 --mca btl_tcp_flags 1 "))
    #expect(new.contains("--prtemca plm_ssh_agent agent ") && !new.contains("oob_tcp") && !new.contains("plm_rsh"))
  }

  /// mpirun gives the ranks of other hosts only the variables that it names.
  @Test func variablesOfTheRunReachOtherHosts() throws {
    let fixture = try ScriptFixture()
    let output = try fixture.run(
      "train", ["--dry-run", "-np", "2"],
      environment: [
        "CIFAR10_DIR": "/data/cifar", "WRN_ISA": "avx2", "OPENBLAS_CORETYPE": "Haswell", "SECRET": "1",
        "WRN_LEARNING_RATE": "0.1", "WRN_ROOT": "/", "WRN_FLAGS": "--steps 9", "WRN_SEED": "",
      ])
    let command = output.lines.last ?? ""
    #expect(
      command.contains(
        "-x OPENBLAS_NUM_THREADS=1 -x CIFAR10_DIR -x WRN_ISA -x WRN_LEARNING_RATE -x OPENBLAS_CORETYPE "
          + "\(fixture.path)/.build/release/wrn-dist"
      ),
      "\(command)")
  }

  @Test func hardwareThreadsAreNotCores() throws {
    #expect(try command(["-np", "2"], cores: 4, threadsPerCore: 2).contains("slot:PE=2 "))
  }

  @Test func coresCanBeSet() throws {
    #expect(try command(["-np", "2", "--cores", "32"], cores: 4).contains("slot:PE=16 "))
    #expect(try command(["-np", "2", "--cores-per-rank", "3"], cores: 2).contains("slot:PE=3 "))
  }

  @Test func theDefaultIsFourRanksOrAllSlots() throws {
    #expect(try command([]).hasPrefix("$ mpirun -np 4 "))
    #expect(
      try command([], hosts: "# mine\na slots=2\n\nb slots=3 max_slots=3 # comment\n")
        .hasPrefix("$ mpirun -np 5 --hostfile ROOT/hosts --map-by slot:PE=2 "))
    #expect(
      try command([], hosts: "a slots=1\na slots=1\nb\tslots=2\n").hasPrefix("$ mpirun -np 4 "))
    #expect(try command([], cores: 6, hosts: "a\nb\n").hasPrefix("$ mpirun -np 12 "))
  }

  @Test func severalHostsGetTheNetworkSettings() throws {
    #expect(
      try command(["--interface", "10.0.0.0/16"], hosts: "a slots=2\nb slots=2\n")
        == "$ mpirun -np 4 --hostfile ROOT/hosts --map-by slot:PE=4 --bind-to core "
        + "--mca btl_tcp_if_include 10.0.0.0/16 --mca oob_tcp_if_include 10.0.0.0/16 "
        + "\(Self.keepalive) \(Self.fragments) \(Self.end)")
    #expect(try command([], hosts: "a slots=2\nb slots=2\n").contains(Self.keepalive))
    #expect(try !command([], hosts: "a slots=2\n").contains("keepalive"))
  }

  /// mpirun treats two values as a list.
  @Test func settingsOfTheUserReplaceTheDefaults() throws {
    let hosts = "a slots=2\nb slots=2\n"
    let words = try command(["--mca", "btl_tcp_sndbuf", "9"], hosts: hosts)
    #expect(words.components(separatedBy: "btl_tcp_sndbuf").count == 2 && words.contains("--mca btl_tcp_sndbuf 9 "))
    let fixture = try ScriptFixture()
    let output = try fixture.run(
      "train", ["--dry-run", "--hostfile", fixture.write("hosts", hosts)],
      environment: ["OMPI_MCA_btl_tcp_flags": "4"])
    #expect(!output.standardOutput.contains("btl_tcp_flags") && output.standardOutput.contains("btl_tcp_sndbuf"))
  }

  @Test func flagsAndSettingsAreForwardedQuoted() throws {
    #expect(
      try command(["-np", "1", "--mca", "pml", "ob1", "--", "--output-dir", "a b", "--steps", "5"])
        .hasSuffix(
          "-x OPENBLAS_NUM_THREADS=1 --mca pml ob1 ROOT/.build/release/wrn-dist train "
            + "--output-dir a\\ b --steps 5"))
  }

  @Test func rootIsAllowedAndReported() throws {
    let fixture = try ScriptFixture()
    try fixture.stub(
      "mpirun",
      #"echo "allowed ${OMPI_ALLOW_RUN_AS_ROOT:-no} ${OMPI_ALLOW_RUN_AS_ROOT_CONFIRM:-no}""#)
    let asRoot = try fixture.run("train", ["-np", "2"])
    #expect(asRoot.standardOutput.contains("OMPI_ALLOW_RUN_AS_ROOT=1"))
    #expect(asRoot.lines.last == "allowed 1 1")
    try fixture.stub("id", "echo 1000")
    let asUser = try fixture.run("train", ["-np", "2"])
    #expect(!asUser.standardOutput.contains("root"))
    #expect(asUser.lines.last == "allowed no no")
  }

  @Test func thePrintedCommandIsRunAndItsExitCodeReturned() throws {
    let fixture = try ScriptFixture()
    try fixture.stub("mpirun", "exit 76")
    let output = try fixture.run("train", ["-np", "2", "--", "--steps", "3"])
    #expect(output.exitCode == 76)
    let printed = try #require(output.lines.last { $0.hasPrefix("$ ") })
    #expect(fixture.calls.filter { $0.hasPrefix("mpirun") } == [String(printed.dropFirst(2))])
  }

  @Test(arguments: [SIGINT, SIGTERM, SIGHUP, SIGUSR1])
  func aSignalRequestsAStop(signal: Int32) throws {
    let fixture = try ScriptFixture()
    try fixture.stub("mpirun", ScriptFixture.stoppable)
    let output = try fixture.run("train", ["-np", "2"]) { try fixture.send(signal, to: $0) }
    #expect(output.exitCode == 75, "\(output.standardError)")
    #expect(fixture.calls.filter { $0.hasPrefix("mpirun got") } == ["mpirun got USR1"])
  }

  /// While the host file is checked, for example, mpirun does not run yet.
  ///
  /// A batch script resumes the run.
  @Test func aStopRequestBeforeTheStartPreventsIt() throws {
    let fixture = try ScriptFixture()
    try fixture.stub("nproc", ScriptFixture.blocked + "echo 8")
    let output = try fixture.run("train", ["-np", "2"]) {
      try fixture.send(SIGUSR1, to: $0)
      try fixture.write("sent", "")
    }
    #expect(output.exitCode == 75, "\(output.standardError)")
    #expect(!fixture.calls.contains { $0.hasPrefix("mpirun") })
  }

  /// Sends a signal twice to a job whose `mpirun` runs `reaction` after each USR1.
  private func sendTwice(
    _ signal: Int32, reaction: String
  ) throws -> (output: ProcessRun.Output, received: [String]) {
    let fixture = try ScriptFixture()
    try fixture.stub("mpirun", ScriptFixture.stoppable.replacingOccurrences(of: "; exit 75", with: reaction))
    let output = try fixture.run("train", ["-np", "2"]) {
      try fixture.send(signal, to: $0)
      try fixture.send(signal, to: $0, after: "mpirun got USR1")
    }
    return (output, fixture.calls.filter { $0.hasPrefix("mpirun got") })
  }

  @Test func theSecondSignalEndsTheJobAtOnce() throws {
    let (output, received) = try sendTwice(SIGINT, reaction: "")
    #expect(output.exitCode == 1, "\(output.standardError)")
    #expect(received == ["mpirun got USR1", "mpirun got TERM"])
  }

  /// PBS may send USR1 to all processes of a job, and pbs.sh forwards it as well: still one stop request.
  @Test func repeatedUSR1IsOneStopRequest() throws {
    let (output, received) = try sendTwice(SIGUSR1, reaction: "; ((++requests < 2)) || exit 75")
    #expect(output.exitCode == 75, "\(output.standardError)")
    #expect(received == ["mpirun got USR1", "mpirun got USR1"])
  }

  /// Only a training run writes a checkpoint.
  @Test func otherCommandsAreTerminated() throws {
    let fixture = try ScriptFixture()
    try fixture.stub("mpirun", ScriptFixture.stoppable)
    let output = try fixture.run("train", ["-np", "2", "--command", "benchmark step"]) {
      try fixture.send(SIGINT, to: $0)
    }
    #expect(output.exitCode == 1, "\(output.standardError)")
    #expect(fixture.calls.filter { $0.hasPrefix("mpirun got") } == ["mpirun got TERM"])
  }

  @Test(arguments: [
    (["-np"], "-np needs a value"), (["-np", "0"], "must be a positive number, not '0'"),
    (["-np", "two"], "must be a positive number"), (["--steps", "5"], "go after --"),
    (["--mca", "pml"], "needs a value"),
  ])
  func mistakesAreUsageErrors(arguments: [String], sentence: String) throws {
    let output = try ScriptFixture().run("train", arguments)
    #expect(output.exitCode == 64)
    #expect(output.standardError.contains(sentence))
    #expect(output.standardError.split(separator: "\n").count == 1)
  }

  @Test(arguments: [
    ("a:4\n", "has host:N"), ("a slots=2\r\n", "Windows line ends"), ("# none\n", "names no host"),
  ])
  func foreignHostFilesAreRefused(hosts: String, sentence: String) throws {
    let fixture = try ScriptFixture()
    let file = try fixture.write("hosts", hosts)
    let output = try fixture.run("train", ["--hostfile", file])
    #expect(output.exitCode == 64)
    #expect(output.standardError.contains(sentence))
  }

  @Test func coresCanBeOversubscribedAndAnotherCommandRun() throws {
    #expect(try command(["-np", "2", "--share-cores"]).contains("-np 2 \(Self.oversubscribed) "))
    #expect(
      try command(["-np", "2", "--command", "benchmark step", "--", "--json"]).hasSuffix(
        "ROOT/.build/release/wrn-dist benchmark step --json"))
  }

  @Test func theProgramChecksTheHostFileFirst() throws {
    let fixture = try ScriptFixture()
    let file = try fixture.write("hosts", "a slots=2\nb slots=2\n")
    let script = #"""
      #!/bin/bash
      echo "wrn-dist $* ${OMPI_MCA_plm_rsh_agent:-ssh}" >>"$FIXTURE/log"
      echo "wrn-dist: error: the host b cannot be reached." >&2
      exit 69

      """#
    try fixture.replaceProgram(script)
    let refused = try fixture.run(
      "train", ["--hostfile", file, "--interface", "10.0.0.0/16", "--mca", "plm_rsh_agent", "rsh -x"])
    #expect(refused.exitCode == 69)
    #expect(refused.standardError == "wrn-dist: error: the host b cannot be reached.\n")
    #expect(
      fixture.calls == ["wrn-dist doctor --hostfile \(file) --reach --quiet --interface 10.0.0.0/16 rsh -x"],
      "mpirun is not started")
    #expect(try fixture.run("train", ["--hostfile", file, "--dry-run"]).exitCode == 0, "a dry run skips the check")
  }

  @Test func moreRanksThanSlotsAreRefused() throws {
    let fixture = try ScriptFixture()
    let file = try fixture.write("hosts", "a slots=2\nb slots=2\n")
    let output = try fixture.run("train", ["-np", "5", "--hostfile", file])
    #expect(output.exitCode == 64)
    #expect(output.standardError.contains("5 ranks do not fit the 4 slots"))
    let bare = try fixture.write("bare", "a\nb slots=1\n")
    #expect(
      try fixture.run("train", ["-np", "12", "--hostfile", bare]).exitCode == 0, "a may have any number of cores")
    let missing = try fixture.run("train", ["--hostfile", "/nowhere"])
    #expect(missing.exitCode == 65 && missing.standardError.contains("'/nowhere' cannot be read"))
  }

  @Test func anUnpreparedMachineIsReferredToSetup() throws {
    let fixture = try ScriptFixture()
    try fixture.remove("mpirun")
    let output = try fixture.run("train", ["-np", "2"])
    #expect(output.exitCode == 69)
    #expect(output.standardError.contains("mpirun is not in your PATH: run "))
  }

  /// mpirun that waits for a lost host, as Open MPI does for 15 minutes, is ended after its ranks are gone.
  @Test func mpirunThatOutlivesItsRanks() throws {
    let fixture = try ScriptFixture()
    try fixture.replaceProgram("#!/bin/bash\nsleep 1\n")
    try fixture.stub("mpirun", #""$FIXTURE/.build/release/wrn-dist"; exec sleep 300"#)
    let output = try fixture.run("train", ["-np", "2"])
    #expect(output.exitCode == 69)
    let sentence = "train: mpirun waits for a host that does not answer, though the run has ended; ending mpirun.\n"
    #expect(output.standardError == sentence)
  }

  /// mpirun may run on a host without ranks, and then only it knows when they end.
  @Test func mpirunWithoutRanksHereMayTakeLong() throws {
    let fixture = try ScriptFixture()
    try fixture.stub("mpirun", "sleep 25; exit 3")
    #expect(try fixture.run("train", ["-np", "2"]).exitCode == 3)
  }
}
