import Foundation
import Models
import TestSupport
import Testing

/// The reports of the benchmarks; no test depends on a speed.
@Suite struct BenchmarkTests {
  private func lastLine<Value: Decodable>(
    _ type: Value.Type, _ arguments: [String], ranks: Int? = nil, environment: [String: String] = [:]
  )
    throws -> Value
  {
    var job = try Job(TemporaryDirectory(), ranks: ranks, ["benchmark"] + arguments + ["--json"])
    job.environment = environment
    let output = try job.succeed()
    return try JSONDecoder.snakeCase.decode(type, from: Data((output.lines.last ?? "").utf8))
  }

  private struct Step: Decodable {
    let network: String
    let engine: String
    let isa: String
    let n: Int
    let ranks: Int
    let imagesPerSecond: Double
    let stepMilliseconds: Double
    let integrityCheckMilliseconds: Double
    let gflops: Double
    let evaluationImagesPerSecond: Double
    let peakMemoryBytes: Int
    let plannedMemoryBytes: Int
    let keptActivationBytes: Int
    let firstStepSeconds: Double
    let wire: String
    let exposedCommunicationMilliseconds: Double
    let bytesSentPerRank: Int
    let bytesSentToOtherHosts: Int
  }

  @Test(arguments: [nil, 2])
  func step(ranks: Int?) throws {
    let line = try lastLine(
      Step.self, ["step", "--depth", "10", "--batch-size", "16", "--steps", "3", "--shared-cores", "compute"],
      ranks: ranks)
    #expect(line.network == "WRN-10-1" && line.n == 3 && line.ranks == ranks ?? 1)
    #expect(["native", "blas"].contains(line.engine) && !line.isa.isEmpty)
    #expect(abs(line.imagesPerSecond * line.stepMilliseconds / 16_000 - 1) < 1e-9)
    #expect(line.gflops > 0 && line.gflops.isFinite && line.evaluationImagesPerSecond > 0)
    // The stem's output and six tensors of blocks: 73,728 numbers per image, for eight or sixteen images.
    #expect(line.keptActivationBytes == 4 * 73_728 * 16 / line.ranks)
    #expect(line.peakMemoryBytes > line.plannedMemoryBytes && line.plannedMemoryBytes > line.keptActivationBytes)
    #expect(line.firstStepSeconds > 0)
    #expect(line.wire == "fp32" && line.bytesSentToOtherHosts == 0)
    #expect((0...line.stepMilliseconds * 10).contains(line.exposedCommunicationMilliseconds))
    #expect(line.integrityCheckMilliseconds > 0)
    // Half of the gradient and half of the parameters, and the small sums of batch norm, gradient norm and loss.
    let least = ranks == nil ? 0 : 4 * 100_986
    #expect(line.bytesSentPerRank >= least && Double(line.bytesSentPerRank) <= 1.15 * Double(least))
  }

  /// The bytes that the host of rank 0 sends with its two ranks.
  @Test(arguments: [("fp32", 4), ("bf16", 4)])
  func stepOnSeveralHosts(wire: String, ranks: Int) throws {
    let line = try lastLine(
      Step.self,
      [
        "step", "--depth", "10", "--batch-size", "16", "--microbatches", "8", "--steps", "2", "--batch-norm",
        "microbatch", "--wire", wire, "--shared-cores", "compute",
      ],
      ranks: ranks, environment: ["WRN_RANKS_PER_HOST": "2"])
    // Each of two hosts has the sum of four of eight rounded subtrees, which is sent in fp32.
    let least = Double(4 * 100_986)
    #expect(line.wire == wire && (least...1.15 * least).contains(Double(line.bytesSentToOtherHosts)))
  }

  private struct AllReduce: Decodable {
    struct Kind: Decodable {
      let milliseconds: Double
      let gigabytesPerSecond: Double
    }
    let ranks: Int
    let bytes: Int
    let buckets: Int
    let n: Int
    let bytesSentPerRank: Int
    let exchange: Kind
    let mpiAllreduce: Kind
    let ratio: Double
  }

  @Test(arguments: [2, 3, 4])
  func allReduce(ranks: Int) throws {
    let line = try lastLine(
      AllReduce.self,
      ["allreduce", "--elements", "200003", "--bucket-size", "128KiB", "--repetitions", "2"],
      ranks: ranks)
    #expect(line.ranks == ranks && line.bytes == 800_012 && line.buckets == 7 && line.n == 2)
    // The shards of two ranks differ by at most one chunk of 2 KiB per bucket.
    let least = 2 * Double(ranks - 1) / Double(ranks) * 800_012
    #expect(abs(Double(line.bytesSentPerRank) - least) <= 2 * 2048 * Double(ranks))
    for kind in [line.exchange, line.mpiAllreduce] { #expect(kind.milliseconds > 0) }
    let sent = line.exchange.gigabytesPerSecond * line.exchange.milliseconds * 1e6
    #expect(abs(sent / Double(line.bytesSentPerRank) - 1) < 1e-9)
    #expect(
      abs(line.ratio * line.mpiAllreduce.milliseconds / line.exchange.milliseconds - 1) < 1e-9)
  }

  @Test func allReduceOfAModel() throws {
    let output = try Job(
      TemporaryDirectory(), ranks: 2,
      ["benchmark", "allreduce", "--widen-factor", "1", "--repetitions", "1"]
    ).succeed()
    #expect(output.standardOutput.hasPrefix("295866 numbers"))
  }

  private struct Convolutions: Decodable {
    struct Pass: Decodable {
      let engine: String
      let pass: String
      let milliseconds: Double
      let gflops: Double
      let fmaPeakShare: Double?
      let bandwidthShare: Double?
    }
    struct Layer: Decodable {
      let shape: String
      let occurrences: Int
      let algorithm: String
      let passes: [Pass]
    }
    let n: Int
    let isa: String?
    let fmaPeakGflops: Double?
    let memoryGigabytesPerSecond: Double?
    let layers: [Layer]
  }

  @Test func convolution() throws {
    let report = try lastLine(
      Convolutions.self,
      ["convolution", "--widen-factor", "2", "--batch-size", "4", "--microbatches", "2", "--repetitions", "1"])
    #expect(report.layers.count == 7 && report.layers.reduce(0) { $0 + $1.occurrences } == 22)
    #expect(report.layers[0].shape == "32×32, 3→16" && report.layers[6].shape == "8×8, 128→128")
    for layer in report.layers {
      let engines = Set(layer.passes.map(\.engine))
      #expect(engines == (report.isa == nil ? ["blas"] : ["native", "blas"]))
      let native =
        layer.shape.hasSuffix(" 3→16") ? "direct" : layer.shape.contains("stride") ? "polyphase" : "winograd"
      #expect(layer.algorithm == (report.isa == nil ? "im2col" : native))
      #expect(layer.passes.count == 2 * engines.count)
      for pass in layer.passes {
        #expect(pass.milliseconds > 0)
        guard let peak = report.fmaPeakGflops, let share = pass.fmaPeakShare else { continue }
        #expect(abs(share * peak / pass.gflops - 1) < 1e-9)
        #expect((pass.bandwidthShare ?? 0) > 0 && (report.memoryGigabytesPerSecond ?? 0) > 0)
      }
    }
    // 4 images of 64 pixels, 9 taps, 128 · 128 channels, twice for both gradients, at 2 operations each.
    let last = try #require(report.layers[6].passes.first { $0.pass == "backward" })
    #expect(abs(last.gflops * last.milliseconds / 1e3 - 4 * 64 * 9 * 128 * 128 * 4 / 1e9) < 1e-9)
  }

  private struct Phases: Decodable {
    struct Limits: Decodable {
      let threads: Int
      let fmaPeakGflops: Double
      let cacheGigabytesPerSecond: Double
      let memoryGigabytesPerSecond: Double
      let dispatchMicroseconds: Double
      let claimMicroseconds: Double
    }
    struct Layer: Decodable {
      let name: String
      let shape: String
      let parameters: Int
      let packedWeights: Int
      let packingTasks: Int
      let workItems: Int
      let preferredImages: Int
    }
    struct Phase: Decodable {
      let shape: String
      let pass: String
      let phase: String
      let threads: Int
      let occurrences: Int
      let milliseconds: Double
      let limit: String
      let boundShare: Double
    }
    let isa: String
    let limits: [Limits]
    let layers: [Layer]
    let phases: [Phase]
  }

  @Test(.enabled(if: InstructionSet.allCases.contains(where: \.isSupported), "no native kernels on this CPU"))
  func phases() throws {
    let report = try lastLine(
      Phases.self,
      [
        "convolution", "--phases", "--depth", "10", "--batch-size", "4", "--microbatches", "2", "--repetitions", "1",
        "--threads", "2",
      ])
    #expect(report.limits.map(\.threads) == [1, 2])
    let tiled: Set = [
      "forward packing", "forward input prologue", "forward input transform", "forward products",
      "forward output transform", "forward epilogue", "backward packing", "backward input prologue",
      "backward gradient prologue", "backward input transform", "backward gradient transform",
      "backward window transform",
      "backward products", "backward weight gradient products", "backward weight gradient transform",
      "backward output transform", "backward epilogue",
    ]
    let winograd = report.phases.filter { $0.shape == "16×16, 32→32" }
    #expect(Set(winograd.map { "\($0.pass) \($0.phase)" }) == tiled && winograd.count == 2 * tiled.count)
    // Six distinct shapes and their sum.
    #expect(Set(report.phases.map(\.shape)).count == 7)
    for limits in report.limits {
      #expect(limits.memoryGigabytesPerSecond > 0 && limits.cacheGigabytesPerSecond > 0)
      let products = try #require(winograd.first { $0.phase == "products" && $0.threads == limits.threads })
      // 36 products for each of 16 tiles of 4 images, 32 · 32 channels, at 2 operations each.
      #expect(products.limit == "FMA")
      let operations = products.milliseconds * products.boundShare * limits.fmaPeakGflops * 1e6
      #expect(abs(operations / (2 * 36 * 16 * 4 * 32 * 32) - 1) < 1e-9)
      // x is read from memory once: 4 images of 16 × 16 pixels and 32 channels.
      let prologue = try #require(winograd.first { $0.phase == "input prologue" && $0.threads == limits.threads })
      #expect(prologue.limit == "memory")
      let bytes = prologue.milliseconds * prologue.boundShare * limits.memoryGigabytesPerSecond * 1e6
      #expect(abs(bytes / (4 * 4 * 16 * 16 * 32) - 1) < 1e-9)
    }
    let total = try #require(report.phases.first { $0.shape == "all of a step" && $0.phase == "window transform" })
    let parts = report.phases.filter { $0.phase == "window transform" && $0.threads == 1 && $0.shape != total.shape }
    let sum = parts.reduce(0) { $0 + Double($1.occurrences) * $1.milliseconds }
    #expect(parts.contains { $0.occurrences > 1 } && abs(total.milliseconds / sum - 1) < 1e-9)
  }

  /// A tile block of 8×8 images has 8 of them: one thread computes them in one item, four threads in four.
  @Test(
    .enabled(if: InstructionSet.allCases.contains(where: \.isSupported), "no native kernels on this CPU"),
    arguments: [("1", 1), ("4", 4)])
  func workItems(threads: String, count: Int) throws {
    let report = try lastLine(
      Phases.self,
      [
        "convolution", "--phases", "--depth", "10", "--batch-size", "8", "--microbatches", "8", "--repetitions", "1",
        "--threads", "2", "--items-for", threads,
      ])
    #expect(report.layers.count == 10 && report.layers[0].name == "stem" && report.layers[0].workItems == 8)
    let layer = try #require(report.layers.first { $0.name == "groups.2.blocks.0.conv2" })
    #expect(layer.shape == "8×8, 64→64" && layer.preferredImages == 8 && layer.workItems == count)
    #expect(layer.parameters == 9 * 64 * 64 + 64 && layer.packedWeights >= 36 * 64 * 64 && layer.packingTasks == 4)
    let two = try #require(report.limits.first { $0.threads == 2 })
    #expect(two.dispatchMicroseconds > 0 && two.claimMicroseconds > 0)
  }

  @Test func blasAlone() throws {
    let report = try lastLine(
      Convolutions.self,
      ["convolution", "--engine", "blas", "--batch-size", "2", "--microbatches", "1", "--repetitions", "1"])
    #expect(report.layers.allSatisfy { $0.algorithm == "im2col" && Set($0.passes.map(\.engine)) == ["blas"] })
  }

  private struct Accuracy: Decodable {
    struct Row: Decodable {
      let operation: String
      let relativeL2: Double
      let plainRelativeL2: Double
    }
    let images: Int
    let rows: [Row]
  }

  @Test func accuracy() throws {
    let report = try lastLine(Accuracy.self, ["accuracy", "--images", "1"])
    #expect(report.images == 1 && report.rows.count == 17)
    #expect(
      report.rows.allSatisfy { (1e-9..<3e-6).contains($0.relativeL2) && (1e-9..<3e-6).contains($0.plainRelativeL2) })
  }

  @Test func theControlWithoutProgressMustBeAllowed() throws {
    let step = ["benchmark", "step", "--depth", "10", "--batch-size", "16", "--steps", "1"]
    var job = try Job(TemporaryDirectory(), ranks: 2, step)
    job.environment = ["WRN_TEST_NO_PROGRESS": "1"]
    let output = try job.run()
    #expect(
      output.exitCode == 64 && output.standardError.contains("WRN_ALLOW_FAULTS=1"),
      "\(output.standardError)")
    job.environment["WRN_ALLOW_FAULTS"] = "1"
    try job.succeed()
  }

  @Test(arguments: [
    (["convolution", "--widen-factor", "none"], "--widen-factor"),
    (["convolution", "--widen-factor", "0"], "--widen-factor 0"),
    (["convolution", "--batch-size", "9", "--microbatches", "2"], "--batch-size 9"),
    (["convolution", "--repetitions", "0"], "--repetitions"),
    (["convolution", "--threads", "2"], "--threads is only for --phases"),
    (["convolution", "--phases", "--threads", "0"], "--threads must lie between 1 and 1024"),
    (["convolution", "--items-for", "2"], "--items-for is only for --phases"),
    (["convolution", "--phases", "--items-for", "0"], "--items-for must lie between 1 and 1024"),
    (["convolution", "--phases", "--engine", "blas"], "--phases are those of the native kernels"),
    (["accuracy", "--images", "0"], "--images 0"), (["step", "--steps", "0"], "--steps"),
    (["step", "--bucket-size", "1"], "--bucket-size 1 must lie between 4KiB and 1GiB"),
    (["allreduce"], "mpirun -np 2"),
  ])
  func invalidFlags(arguments: [String], word: String) throws {
    let output = try Job(TemporaryDirectory(), ["benchmark"] + arguments).run()
    #expect(output.exitCode == 64)
    #expect(output.errorLines.count == 1 && output.errorLines[0].contains(word), "\(output.standardError)")
  }
}
