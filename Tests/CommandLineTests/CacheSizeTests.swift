import Clusters
import Foundation
import Models
import TestSupport
import Testing

/// The program on a system that reports absurd cache sizes: `doctor` explains them, and results do not depend on them.
@Suite struct CacheSizeTests {
  /// A core that this process may use.
  private static let core: Int = {
    let list = try? ProcessRun("/bin/sh", ["-c", "taskset -cp $$ | sed 's/.*: //; s/[,-].*//'"]).run().lines.first
    return list.flatMap { Int($0) } ?? 0
  }()

  /// The bytes of L2 that kernels use; none if the engine is `blas`.
  private static let workingSet = InstructionSet.allCases.contains(where: \.isSupported) ? 576 << 10 : nil

  /// Whether this process can mount over `/sys`; true for root without `unshare`, so that a test reports that it is missing.
  private static let canMount: Bool = {
    guard geteuid() == 0 else { return false }
    guard let unshare = try? BuiltProducts.installed("unshare") else { return true }
    let path = "/sys/devices/system/cpu/cpu\(core)/cache"
    return (try? ProcessRun(unshare, ["-m", "mount", "--bind", "/tmp", path]).run().exitCode) == 0
  }()

  /// Runs a command on one core, whose caches are those of the directory `caches` if `isMounted`.
  private func run(_ job: Job, isMounted: Bool) throws -> ProcessRun.Output {
    let mount = isMounted ? "mount --bind caches /sys/devices/system/cpu/cpu\(Self.core)/cache || exit; " : ""
    let command = ["exec", "taskset", "-c", "\(Self.core)", try BuiltProducts.executable("wrn-dist")] + job.arguments
    let arguments = ["-c", mount + command.joined(separator: " ")]
    return try ProcessRun(
      isMounted ? BuiltProducts.installed("unshare") : "/bin/bash", (isMounted ? ["-m", "/bin/bash"] : []) + arguments,
      environment: MPIRun.environment(adding: [:]), workingFolder: job.folder.path
    ).run()
  }

  /// The `caches` rows of `doctor`, and its advice about them.
  private func lines(_ output: ProcessRun.Output) -> (rows: [String], advice: [String]) {
    #expect(output.exitCode == 0, "\(output.standardError)")
    return (
      output.lines.filter { $0.hasPrefix("caches") },
      output.lines.filter { $0.hasPrefix("advice: ") && $0.contains(" of L2 ") }
    )
  }

  @Test func doctorReportsTheCachesOfItsCores() throws {
    let caches = CPUCaches(cores: [Self.core])
    let output = try run(Job(TemporaryDirectory(), ["doctor"]), isMounted: false)
    #expect(output.lines.contains { $0.hasPrefix("cores") && $0.hasSuffix(" online, rank 0 may use 1") })
    let (rows, advice) = lines(output)
    let texts = [caches.summary] + [caches.note(workingSet: Self.workingSet)].compactMap { $0 }
    #expect(rows == texts.map { "caches        " + $0 })
    #expect(advice == [caches.advice(workingSet: Self.workingSet)].compactMap { $0 }.map { "advice: " + $0 })
  }

  @Test(
    .enabled(if: canMount, "skipped, because this process is not allowed to mount a file system"),
    .enabled(if: workingSet != nil, "this CPU runs no native kernels"),
    arguments: [
      (nil, ["unknown, because Linux reports none in /sys/devices/system/cpu/cpu#/cache", "Linux reports no L2; #"]),
      ("0K", ["L2 0 KiB per core", "an L2 of 0 KiB is implausible; #"]),
      ("2G", ["L2 2 GiB per core", "an L2 of 2 GiB is implausible; #"]),
      ("-", ["L2 of unknown size per core", "Linux reports an L2 without a size; #"]),
      ("256K", ["L2 256 KiB per core"]),
    ] as [(String?, [String])])
  func absurdSizesDoNotAffectResults(size: String?, rows: [String]) throws {
    let folder = try TemporaryDirectory()
    try folder.write("caches/uevent", "")
    if let size {
      for (name, text) in [("level", "2"), ("type", "Unified"), ("size", size), ("shared_cpu_list", "\(Self.core)")] {
        try folder.write("caches/index0/\(name)", text + "\n")
      }
    }
    let found = lines(try run(Job(folder, ["doctor"]), isMounted: true))
    let consequence = "kernels use 576 KiB of L2 with 64 channels on every CPU, so results do not depend on its size"
    #expect(
      found.rows
        == rows.map {
          "caches        "
            + $0.replacing("cpu#", with: "cpu\(Self.core)").replacing("#", with: consequence)
        })
    #expect(
      found.advice
        == (size == "256K"
          ? [
            "advice: rank 0 has 256 KiB of L2 per core, but kernels use 576 KiB with 64 channels; compare the speed of "
              + "--engine blas with wrn-dist benchmark step."
          ] : []))
    for (output, isMounted) in [("usual", false), ("absurd", true)] {
      let trained = try run(Job.training(folder, output: output, ["--steps", "3"]), isMounted: isMounted)
      #expect(trained.exitCode == 0, "\(trained.standardError)")
    }
    #expect(try folder.digest("absurd") == folder.digest("usual"))
    #expect(folder.metrics("absurd") == folder.metrics("usual"))
  }
}
