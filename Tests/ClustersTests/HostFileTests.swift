import Clusters
import Glibc
import Testing

@Suite struct HostFileTests {
  private func read(_ text: String, isPBSNodeFile: Bool = false) -> HostFile {
    HostFile(Array(text.utf8), isPBSNodeFile: isPBSNodeFile)
  }

  /// `node01=4 node02=` for hosts with and without slots.
  private func hosts(_ file: HostFile) -> String {
    file.hosts.map { "\($0.name)=\($0.slots.map(String.init) ?? "")" }.joined(separator: " ")
  }

  @Test func openMPIFormatNeedsNoConversion() {
    let file = read(
      "# mine\nnode01 slots=2\n\n\tnode02\tslots = 4 max_slots=8 # fast\nroot@node03 cpu=1 // old\n10.0.0.7\n::1 count=3\n"
    )
    #expect(hosts(file) == "node01=2 node02=4 root@node03=1 10.0.0.7= ::1=3")
    #expect(file.hosts[1].maximumSlots == 8 && file.hosts[1].line == 4)
    #expect(file.hosts[2].address == "node03")
    #expect(file.formats == [.openMPI] && file.fatal == nil && file.needsConversion == nil)
    #expect(file.slotCount(slotsPerHost: 16) == 26)
  }

  @Test func repeatedLinesAddUpWithAWarning() {
    let file = read("a slots=2\nb slots=1\nA slots=3\n")
    #expect(hosts(file) == "a=5 b=1")
    #expect(file.diagnostics.map(\.description) == ["line 3: A is also in line 1; their slots add up to 5"])
    #expect(file.diagnostics.allSatisfy { $0.severity == .warning })
  }

  @Test func mpichFormatIsConverted() {
    let file = read("node01:4\nnode02:2 binding=user # x\n[fd00::7]:3\n")
    #expect(hosts(file) == "node01=4 node02=2 fd00::7=3")
    #expect(file.formats == [.mpich] && file.fatal == nil)
    #expect(
      file.needsConversion?.description
        == "line 1: node01:4 is the format of MPICH and Intel MPI; Open MPI's is node01 slots=4")
    #expect(file.diagnostics.contains { $0.severity == .warning && $0.message.contains("binding=user is skipped") })
    let again = read(file.rendered(comment: "converted"))
    #expect(again.hosts.map(\.name) == file.hosts.map(\.name) && again.diagnostics.isEmpty)
    #expect(file.rendered(comment: "c") == "# c\nnode01  slots=4\nnode02  slots=2\nfd00::7 slots=3\n")
  }

  @Test func pbsNodeFilesHaveOneLinePerSlot() {
    let even = read("a\na\nb\nb\n")
    #expect(hosts(even) == "a=2 b=2" && even.formats == [.pbs] && even.diagnostics.isEmpty)
    let odd = read("a\na\nb\n")
    #expect(hosts(odd) == "a=2 b=1")
    #expect(odd.needsConversion?.line == 3 && odd.needsConversion?.message.contains("b slots=1") == true)
    let once = read("a\nb\n", isPBSNodeFile: true)
    #expect(hosts(once) == "a=1 b=1" && once.needsConversion != nil)
    let unknown = read("a\nb\n")
    #expect(hosts(unknown) == "a= b=" && unknown.formats == [.openMPI] && unknown.needsConversion == nil)
  }

  @Test func slurmListsAreExpanded() {
    let file = read("node[01-03,07],gpu[1-2]-ib,login\n")
    #expect(file.hosts.map(\.name) == ["node01", "node02", "node03", "node07", "gpu1-ib", "gpu2-ib", "login"])
    #expect(file.formats == [.slurm] && file.needsConversion?.message.contains("the first is node01") == true)
    #expect(
      read("rack[1-2]n[8-10]\n").hosts.map(\.name) == [
        "rack1n8", "rack1n9", "rack1n10", "rack2n8", "rack2n9", "rack2n10",
      ])
    #expect(read("node[098-101]\n").hosts.map(\.name) == ["node098", "node099", "node100", "node101"])
    let withSlots = read("node[1-2] slots=4\n")
    #expect(hosts(withSlots) == "node1=4 node2=4")
    #expect(file.rendered(slotsPerHost: 2, comment: "c").hasPrefix("# c\nnode01  slots=2\n"))
  }

  @Test func windowsFilesAreConverted() {
    let file = read("\u{feff}a slots=2\r\nb slots=1\r\n")
    #expect(hosts(file) == "a=2 b=1" && file.fatal == nil)
    #expect(file.diagnostics.map(\.severity) == [.needsConversion, .needsConversion])
    #expect(file.diagnostics[0].message.contains("byte-order mark") && file.diagnostics[1].message.contains("CR LF"))
    #expect(!file.rendered(comment: "c").contains("\r"))
    #expect(hosts(read("a slots=2\rb slots=1\r")) == "a=2 b=1", "old Macintosh line ends")
    #expect(hosts(read("a slots=2\r\nb:4\r\n")) == "a=2 b=4")
  }

  @Test(arguments: [
    ("", 0, "names no host"), ("# nothing\n\n", 0, "names no host"),
    ("a slots=0\n", 1, "'0' in slots=0"), ("a\nb slots=x\n", 2, "'x' in slots=x"), ("a slots=-1\n", 1, "'-1'"),
    ("a slots=\n", 1, "'' in slots="), ("a 4\n", 1, "write a slots=4"), ("a b\n", 1, "one host per line"),
    ("a slot=4\n", 1, "slot= is not a setting"), ("a SLOTS=4\n", 1, "SLOTS= is not a setting"),
    ("a slots=4 max_slots=2\n", 1, "less than slots=4"), ("a slots=1 slots=2\n", 1, "slots= twice"),
    ("[1:]:4\n", 1, "'1:' is not a host name"),
    ("a slots=4 max_slots=6\nb\na slots=4\n", 3, "their slots add up to 8, more than max_slots=6"),
    ("a slots=1000000\nb\na slots=1\n", 3, "their slots add up to 1000001, more than 1000000"),
    ("a:b\n", 1, "'b' in a:b"), ("a:0\n", 1, "'0' in a:0"), ("a slots=2,\n", 1, "'2,'"),
    ("-oProxyCommand=x\n", 1, "not a host name"), ("a;b\n", 1, "'a;b' is not a host name"),
    ("my_node slots=2\n", 1, "underscore"), ("node[01-04\n", 1, "bracket"), ("node[4-1]\n", 1, "ascending range"),
    ("node[a-c]\n", 1, "[a-c]"), ("a,,b\n", 1, "empty name"), ("node[1-99999999]\n", 1, "[1-99999999]"),
    ("größe slots=2\n", 1, "not a host name"), ("@a slots=1\n", 1, "not a host name"),
  ])
  func invalidFilesAreRefused(text: String, line: Int, words: String) {
    let file = read(text)
    #expect(file.fatal?.line == line, "\(text)")
    #expect(file.fatal?.message.contains(words) == true, "\(file.fatal?.message ?? "fine")")
  }

  @Test func binaryFilesAreRefused() {
    #expect(HostFile([0xff, 0xfe, 0x61, 0]).fatal?.message.contains("UTF-16") == true)
    #expect(HostFile([0x61, 0, 0x62]).fatal?.message.contains("not a text file") == true)
    #expect(HostFile([0xc3, 0x28]).fatal?.message.contains("not a text file") == true)
  }

  @Test func tooManyRanksAreWarnedAbout() {
    let file = read("a slots=2\nb\n")
    #expect(file.warnings(ranks: 6, microbatches: 8, slotsPerHost: 4).isEmpty)
    #expect(
      file.warnings(ranks: 7, microbatches: 8, slotsPerHost: 4).map(\.message) == [
        "7 ranks do not fit 6 slots, and mpirun starts none; raise slots= or start -np 6"
      ])
    #expect(file.warnings(ranks: 9, microbatches: 8, slotsPerHost: 4).count == 2)
  }

  @Test func localhostAmongOthers() {
    #expect(read("localhost slots=4\n").diagnostics.isEmpty)
    #expect(
      read("localhost slots=4\nb slots=4\n").diagnostics.first?.message.contains("another machine on every host")
        == true)
  }

  @Test func resolvedAddressesAreDiagnosed() {
    let file = read("a\nb\nc\nd\n")
    let address = NetworkAddress(bits: 0x0a00_0001)
    let diagnostics = file.diagnostics(
      [
        "a": .found([address]), "b": .failed("Name or service not known"), "c": .found([address]),
        "d": .found([NetworkAddress(bits: 0xc0a8_0001)]),
      ], network: NetworkRange("10.0.0.0/16"))
    #expect(diagnostics.map(\.line) == [2, 3, 4])
    #expect(diagnostics.map(\.severity) == [.fatal, .warning, .warning])
    #expect(diagnostics[1].message.contains("c and a have the same address 10.0.0.1"))
    #expect(diagnostics[2].message.contains("192.168.0.1, outside 10.0.0.0/16"))
  }

  @Test func aNameWithoutAnAnswerFailsAfterTheLimit() {
    let silent = HostResolver.resolve(["a", "b"], limit: .seconds(1)) { _ in while true { pause() } }
    #expect(silent == ["a": .failed("no answer within 1 s"), "b": .failed("no answer within 1 s")])
    let answered = HostResolver.resolve(["a", "b"], limit: .seconds(60)) { _ in .found([]) }
    #expect(answered == ["a": .found([]), "b": .found([])])
    #expect(HostResolver.resolve("127.0.0.1") == .found([NetworkAddress(bits: 0x7f00_0001)]))
  }
}
