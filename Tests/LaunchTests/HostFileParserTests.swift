import Clusters
import Foundation
import TestSupport
import Testing

/// The host-file parser of the launch scripts and the program's agree on every file in Open MPI's or PBS's format.
@Suite struct HostFileParserTests {
  /// The slots of a host whose lines have none.
  private static let cores = 6

  @Test(arguments: [
    "a slots=2\nb slots=1\n", "# mine\n\na slots=2 # two\n\tb\tslots=3 max_slots=3\n", "a slots = 4 // old\nb cpu=1\n",
    "a\nb\n", "a\nb slots=1\n", "a slots=1\nb slots=5\nA slots=2\n", "a slots=2\na\n", "root@a count=3\n10.0.0.7\n",
    "a\na\nb\nb\n", "b\na\nb\na\nb\na", "a max_slots=9 slots=2\n",
  ])
  func bothParsersAgree(text: String) throws {
    let file = HostFile(Array(text.utf8))
    #expect(file.fatal == nil && file.needsConversion == nil)
    let expected = file.hosts.map { "\($0.name) \($0.slots ?? Self.cores)" }
    #expect(try script("hosts", text, slots: Self.cores) == expected)
  }

  /// A PBS node file has one line per slot.
  @Test(arguments: ["a\n", "a\na\nb\n", "n2\nn1\nn1\n"])
  func bothParsersAgreeOnPBSNodeFiles(text: String) throws {
    let file = HostFile(Array(text.utf8), isPBSNodeFile: true)
    #expect(try script("nodes", text, slots: 1) == file.hosts.map { "\($0.name) \($0.slots ?? 0)" })
  }

  /// Returns the output of `host_slots` in `launch/common.sh`.
  private func script(_ name: String, _ text: String, slots: Int) throws -> [String] {
    let folder = try TemporaryDirectory()
    try folder.write(name, text)
    let command = "source '\(ScriptFixture.repository.path)/launch/common.sh'; host_slots '\(name)' \(slots)"
    let output = try ProcessRun("/bin/bash", ["-euo", "pipefail", "-c", command], workingFolder: folder.path).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    return output.lines
  }
}
