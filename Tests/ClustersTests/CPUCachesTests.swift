import Clusters
import TestSupport
import Testing

/// The caches of directories in the format of Linux's `/sys`, as `doctor` prints them.
@Suite struct CPUCachesTests {
  /// The fields of one cache: level, type, size and cores; a missing file for `nil`.
  private typealias Fields = (level: String?, type: String?, size: String?, cores: String?)

  private static let workingSet = 576 << 10
  private static let consequence =
    "; kernels use 576 KiB of L2 with 64 channels on every CPU, so results do not depend on its size"

  /// Reads the caches of usable cores from a tree that lists those of some cores.
  private func read(_ tree: [Int: [Fields]], usable: [Int]? = nil) throws -> CPUCaches {
    let folder = try TemporaryDirectory()
    for (core, caches) in tree {
      for (index, fields) in caches.enumerated() {
        let directory = "sys/devices/system/cpu/cpu\(core)/cache/index\(index)"
        try folder.write("\(directory)/id", "0\n")
        for (name, text) in [
          ("level", fields.level), ("type", fields.type), ("size", fields.size), ("shared_cpu_list", fields.cores),
        ] {
          if let text { try folder.write("\(directory)/\(name)", text + "\n") }
        }
      }
    }
    return CPUCaches(cores: usable ?? tree.keys.sorted(), root: folder.path)
  }

  /// Cores with an L1d of 48 KiB each, an L2 as given, and one L3.
  private func cores(_ secondLevel: [(size: String?, cores: String?)]) -> [Int: [Fields]] {
    var tree: [Int: [Fields]] = [:]
    for (core, cache) in secondLevel.enumerated() {
      tree[core] = [
        ("1", "Data", "48K", "\(core)"), ("1", "Instruction", "32K", "\(core)"),
        ("2", "Unified", cache.size, cache.cores), ("3", "Unified", "32768K", "0-\(secondLevel.count - 1)"),
      ]
    }
    return tree
  }

  @Test func usualCachesNeedNoNote() throws {
    let caches = try read(cores([("1024K", "0"), ("1024K", "1")]))
    #expect(caches.summary == "L1d 48 KiB per core, L2 1 MiB per core, L3 32 MiB for 2 cores")
    #expect(caches.note(workingSet: Self.workingSet) == nil)
    #expect(caches.advice(workingSet: Self.workingSet) == nil)
  }

  @Test func onlyUsableCoresCount() throws {
    let tree = cores([("1024K", "0"), ("0K", "1"), ("256K", "2")])
    let one = try read(tree, usable: [0])
    #expect(one.summary == "L1d 48 KiB per core, L2 1 MiB per core, L3 32 MiB for 3 cores")
    #expect(one.note(workingSet: Self.workingSet) == nil && one.advice(workingSet: Self.workingSet) == nil)
    #expect(try read(tree, usable: [1]).summary == "L1d 48 KiB per core, L2 0 KiB per core, L3 32 MiB for 3 cores")
  }

  @Test(arguments: [
    ("0K", "0 KiB per core", "an L2 of 0 KiB is implausible"),
    ("2G", "2 GiB per core", "an L2 of 2 GiB is implausible"),
    ("2097152K", "2 GiB per core", "an L2 of 2 GiB is implausible"),
    ("65537K", "64 MiB per core", "an L2 of 64 MiB is implausible"),
    ("9007199254740991G", "of unknown size per core", "Linux reports an L2 without a size"),
    ("99999999999999999999K", "of unknown size per core", "Linux reports an L2 without a size"),
    ("-1K", "of unknown size per core", "Linux reports an L2 without a size"),
    ("1024Q", "of unknown size per core", "Linux reports an L2 without a size"),
    ("K", "of unknown size per core", "Linux reports an L2 without a size"),
    ("\u{0}\u{1F600}", "of unknown size per core", "Linux reports an L2 without a size"),
    ("", "of unknown size per core", "Linux reports an L2 without a size"),
    (nil, "of unknown size per core", "Linux reports an L2 without a size"),
  ])
  func implausibleSizesAreExplained(size: String?, shown: String, problem: String) throws {
    let caches = try read(cores([(size, "0")]))
    #expect(caches.summary == "L1d 48 KiB per core, L2 \(shown), L3 32 MiB per core")
    #expect(caches.note(workingSet: Self.workingSet) == problem + Self.consequence)
    #expect(
      caches.note(workingSet: nil) == problem + "; OpenBLAS selects the block sizes of the blas engine")
    // A size that is not believed is no reason for advice.
    #expect(caches.advice(workingSet: Self.workingSet) == nil)
  }

  @Test(arguments: [
    ("48K", "48 KiB"), ("512K", "512 KiB"), ("1280K", "1.25 MiB"), ("36608K", "35.75 MiB"), ("2M", "2 MiB"),
    ("65536K", "64 MiB"), ("600000", "585.94 KiB"),
  ])
  func plausibleSizes(size: String, shown: String) throws {
    let caches = try read(cores([(size, "0")]))
    #expect(caches.summary == "L1d 48 KiB per core, L2 \(shown) per core, L3 32 MiB per core")
    #expect(caches.note(workingSet: 0) == nil)
  }

  @Test func missingCachesAreUnknown() throws {
    let none = try read([:], usable: [3, 5])
    #expect(none.summary == "unknown, because Linux reports none in /sys/devices/system/cpu/cpu3/cache")
    #expect(none.note(workingSet: Self.workingSet) == "Linux reports no L2" + Self.consequence)
    #expect(none.advice(workingSet: Self.workingSet) == nil)
    // No core at all must not trap either.
    #expect(try read([:], usable: []).summary.hasPrefix("unknown"))
    let unreadable: [Fields] = [
      (nil, "Data", "48K", "0"), ("two", "Unified", "1024K", "0"), ("0", "Unified", "1024K", "0"),
      ("1", "Instruction", "32K", "0"),
    ]
    #expect(
      try read([0: unreadable]).summary == "unknown, because Linux reports none in /sys/devices/system/cpu/cpu0/cache")
    let withoutL2 = try read([0: [("1", "Data", "64K", "0")], 1: [("1", "Data", "64K", "1")]])
    #expect(withoutL2.summary == "L1d 64 KiB per core")
    #expect(withoutL2.note(workingSet: Self.workingSet) == "Linux reports no L2" + Self.consequence)
  }

  @Test func coresWithDifferentL2() throws {
    let caches = try read(
      cores([("2048K", "0"), ("4096K", "1-4"), ("4096K", "1-4"), ("4096K", "1-4"), ("4096K", "1-4")]))
    #expect(
      caches.summary == "L1d 48 KiB per core, L2 2 MiB per core on 1 core and 4 MiB for 4 cores on 4 cores, "
        + "L3 32 MiB for 5 cores")
    #expect(caches.note(workingSet: Self.workingSet) == "L2 differs between the cores of rank 0" + Self.consequence)
    #expect(caches.advice(workingSet: Self.workingSet) == nil, "1 MiB per core is enough")
    let missing = try read([
      0: [("1", "Data", "48K", "0"), ("2", "Unified", "1024K", "0")], 1: [("1", "Unified", "16K", "1")],
    ])
    #expect(
      missing.summary == "L1 none on 1 core and 16 KiB per core on 1 core, L1d 48 KiB per core on 1 core and none on "
        + "1 core, L2 1 MiB per core on 1 core and none on 1 core")
    #expect(missing.note(workingSet: Self.workingSet) == "Linux reports no L2 of some cores" + Self.consequence)
  }

  @Test func aSmallL2IsAdvice() throws {
    let small = try read(cores([("2048K", "0"), ("256K", "1")]))
    #expect(
      small.advice(workingSet: Self.workingSet)
        == "rank 0 has 256 KiB of L2 per core, but kernels use 576 KiB with 64 channels; compare the speed of "
        + "--engine blas with wrn-dist benchmark step.")
    #expect(small.advice(workingSet: nil) == nil, "OpenBLAS computes")
    let divided = cores([("512K", "0-1"), ("512K", "0-1")])
    #expect(
      try read(divided).advice(workingSet: Self.workingSet)
        == "rank 0 has 256 KiB of L2 per core, but kernels use 576 KiB with 64 channels; compare the speed of "
        + "fewer --threads with wrn-dist benchmark step.")
    #expect(try read(divided, usable: [1]).advice(workingSet: Self.workingSet) == nil, "one of two hardware threads")
    #expect(try read(cores([("288K", "0")])).advice(workingSet: Self.workingSet) == nil)
    #expect(try read(cores([("287K", "0")])).advice(workingSet: Self.workingSet) != nil)
  }

  @Test(arguments: [
    "", "1", "0,", "0-", "3-0", "0-8192", "0-99999999999999999999", "0--1", "a", "0-1-2", "\u{0}",
  ])
  func unreadableListsOfCoresMeanOne(list: String) throws {
    #expect(
      try read(cores([("1024K", list)])).summary == "L1d 48 KiB per core, L2 1 MiB per core, L3 32 MiB per core")
  }

  @Test func listsOfCores() throws {
    let caches = try read([6: [("2", "Unified", "4096K", "0-2,6,8-11")]])
    #expect(caches.summary == "L2 4 MiB for 8 cores")
    let largest = try read([8191: [("2", "Unified", "4096K", "0-8191")]])
    #expect(largest.summary == "L2 4 MiB for 8192 cores")
  }
}
