import TestSupport
import Testing
import Training

/// The memory that a host has left, read from files in Linux's format.
@Suite struct HostMemoryTests {
  private static let meminfo = "MemTotal:       2000 kB\nMemFree:         100 kB\nMemAvailable:    1000 kB\n"

  private func memory(_ files: [String: String]) throws -> HostMemory? {
    let folder = try TemporaryDirectory()
    for (name, text) in files { try folder.write(name, text) }
    return HostMemory(root: folder.path)
  }

  @Test func withoutLimitsLinuxDecides() throws {
    let found = try memory([
      "proc/meminfo": Self.meminfo, "proc/self/cgroup": "0::/user\n", "sys/fs/cgroup/user/memory.max": "max\n",
      "sys/fs/cgroup/user/memory.current": "5\n",
    ])
    #expect(found?.availableByteCount == 1_024_000 && found?.limit == "available")
    #expect(try memory(["proc/meminfo": Self.meminfo])?.availableByteCount == 1_024_000)
    #expect(try memory([:]) == nil)
  }

  /// `number` wants a whole word, `text` the start of a name.
  @Test func fieldsOfSystemFiles() throws {
    let folder = try TemporaryDirectory()
    try folder.write("proc/meminfo", Self.meminfo)
    try folder.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: A: CPU \nflags\t\t: avx2 fma\n")
    let files = SystemFiles(root: folder.path)
    #expect(files.number(of: "MemTotal", in: "proc/meminfo") == 2000)
    #expect(files.number(of: "MemTot", in: "proc/meminfo") == nil)
    #expect(files.text(afterNameStartingWith: "model name", in: "proc/cpuinfo") == "A: CPU")
    #expect(files.text(afterNameStartingWith: "flag", in: "proc/cpuinfo") == "avx2 fma")
    #expect(files.text(afterNameStartingWith: "Features", in: "proc/cpuinfo") == nil)
    #expect(files.text(afterNameStartingWith: "model name", in: "proc/none") == nil)
  }

  @Test func theTightestGroupCounts() throws {
    let files = [
      "proc/meminfo": Self.meminfo, "proc/self/cgroup": "0::/job/step\n",
      "sys/fs/cgroup/job/memory.max": "500000\n", "sys/fs/cgroup/job/memory.current": "300000\n",
      "sys/fs/cgroup/job/memory.stat": "anon 1\ninactive_file 50000\nactive_file 7\n",
      "sys/fs/cgroup/job/step/memory.max": "900000\n", "sys/fs/cgroup/job/step/memory.current": "1000\n",
    ]
    let found = try memory(files)
    #expect(found?.availableByteCount == 250_000)
    #expect(found?.limit == "left of the control group's limit")
  }

  @Test func theFirstVersionOfGroupsToo() throws {
    let files = [
      "proc/meminfo": Self.meminfo, "proc/self/cgroup": "5:devices:/\n4:cpu,memory:/docker/abc\n0::/\n",
      // Inside a container the group's own path is not visible; its limit is at the root.
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "400000\n",
      "sys/fs/cgroup/memory/memory.usage_in_bytes": "100000\n",
      "sys/fs/cgroup/memory/memory.stat": "cache 9\ntotal_inactive_file 20000\n",
    ]
    #expect(try memory(files)?.availableByteCount == 320_000)
    let full = files.merging(["sys/fs/cgroup/memory/memory.usage_in_bytes": "900000\n"]) { $1 }
    #expect(try memory(full)?.availableByteCount == 0)
  }
}
