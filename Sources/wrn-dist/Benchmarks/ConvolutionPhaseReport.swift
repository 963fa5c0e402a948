import Foundation
import KernelDiagnostics
import Models
import Support
import Tensors

/// The report of `benchmark convolution --phases`: the time of every phase beside its bound.
struct ConvolutionPhaseReport {
  let batchSize: Int
  let microbatches: Int
  let repetitions: Int
  let instructionSet: InstructionSet
  let model: ModelGraph
  /// The threads of the rank whose work items are timed.
  let itemsFor: Int
  /// The numbers of threads, in ascending order.
  let threads: [Threads]

  /// Threads that run at the same time, each with a batch.
  struct Threads {
    let pool: WorkerPool
    /// The limits of each thread.
    let roofline: MachineRoofline
    let dispatch: DispatchTiming
  }

  // Property names of the following structures are those of `--json`.

  /// One phase of one shape, or of all convolutions of a step.
  struct Phase: Encodable {
    let shape: String
    let pass: String
    let phase: String
    let threads: Int
    /// How often the network has the shape.
    let occurrences: Int
    let milliseconds: Double
    let limit: PhaseBound.Limit
    /// The least time divided by the measured one.
    let boundShare: Double
  }

  private struct Object: Encodable {
    struct Limits: Encodable {
      let threads: Int
      let fmaPeakGflops: Double
      let cacheGigabytesPerSecond: Double
      let memoryGigabytesPerSecond: Double
      let dispatchMicroseconds: Double
      let claimMicroseconds: Double
    }
    struct Layer: Encodable {
      let name: String
      let shape: String
      /// The elements of weight and bias.
      let parameters: Int
      /// The floats of the packed weight.
      let packedWeights: Int
      let packingTasks: Int
      /// The work items per batch and pass.
      let workItems: Int
      /// The images with which a work item is fastest.
      let preferredImages: Int
    }
    let network: String
    let batchSize: Int
    let microbatches: Int
    let itemsFor: Int
    let n: Int
    let cpu: String
    let isa: String
    let limits: [Limits]
    let layers: [Layer]
    let phases: [Phase]
  }

  /// The name of all convolutions of a step together.
  static let total = "all of a step"

  /// Measures every shape, and adds the sums over a step.
  func measure() -> [Phase] {
    let engine = NativeConvolutionEngine(instructionSet)
    var phases: [Phase] = []
    var totals: [(key: PhaseKey, values: [(seconds: Double, bound: Double)], limit: PhaseBound.Limit)] = []
    for (geometry, count) in model.distinctConvolutions {
      let algorithm = engine.algorithm(geometry)
      let times = threads.map {
        ConvolutionTiming.measurePhases(
          geometry, batchSize: batchSize, microbatches: microbatches, workerCount: itemsFor, instructionSet,
          repetitions: repetitions, over: $0.pool)
      }
      for key in PhaseKey.all {
        guard let bound = key.bound(geometry, algorithm: algorithm, batchSize: batchSize, microbatches: microbatches)
        else { continue }
        let values = zip(threads, times).map { (seconds: key.seconds($1), bound: bound.seconds($0.roofline)) }
        guard values.allSatisfy({ $0.seconds > 0 }) else { continue }
        phases += rows(geometry.summary, count, key, values, bound.limit)
        let weighted = values.map { (seconds: Double(count) * $0.seconds, bound: Double(count) * $0.bound) }
        if let i = totals.firstIndex(where: { $0.key == key }) {
          totals[i].values = zip(totals[i].values, weighted).map { ($0.seconds + $1.seconds, $0.bound + $1.bound) }
        } else {
          totals.append((key, weighted, bound.limit))
        }
      }
    }
    // The stem, which is first, lacks most phases.
    let order = PhaseKey.all
    totals.sort { (order.firstIndex(of: $0.key) ?? 0) < (order.firstIndex(of: $1.key) ?? 0) }
    return phases + totals.flatMap { rows(Self.total, 1, $0.key, $0.values, $0.limit) }
  }

  private func rows(
    _ shape: String, _ count: Int, _ key: PhaseKey, _ values: [(seconds: Double, bound: Double)],
    _ limit: PhaseBound.Limit
  ) -> [Phase] {
    zip(threads, values).map {
      Phase(
        shape: shape, pass: key.isForward ? "forward" : "backward", phase: key.name, threads: $0.pool.workerCount,
        occurrences: count, milliseconds: $1.seconds * 1e3, limit: limit, boundShare: $1.bound / $1.seconds)
    }
  }

  /// The network, the sizes and the limits of this machine.
  var heading: [String] {
    let sizes =
      "\(model.name) on \(HostInfo.cpuModel), \(instructionSet.rawValue); batch \(batchSize) in \(microbatches) "
      + "microbatches per thread, medians of n = \(repetitions)"
    let limits = threads.map {
      String(
        format: "%d thread(s): per thread %.1f GFLOP/s of multiply-adds, L2 cache %.1f GB/s, memory %.1f GB/s",
        $0.pool.workerCount, $0.roofline.flops / 1e9, $0.roofline.cacheBytesPerSecond / 1e9,
        $0.roofline.bytesPerSecond / 1e9)
    }
    let costs = threads.filter { $0.pool.workerCount > 1 }.map {
      String(
        format: "%d threads: a parallel loop costs %.2f µs, a claim %.3f µs", $0.pool.workerCount,
        $0.dispatch.dispatch * 1e6, $0.dispatch.claim * 1e6)
    }
    return [sizes] + limits + costs
  }

  /// One line per phase, with the columns of all numbers of threads.
  func lines(_ phases: [Phase]) -> [String] {
    let columns = threads.map { "  ms, \($0.pool.workerCount) thr.  of bound" }.joined()
    var lines = [
      "shape".leftAligned(26) + "pass".leftAligned(10) + "phase".leftAligned(27) + "limit ".leftAligned(7) + columns
    ]
    var (shape, pass) = ("", "")
    for row in stride(from: 0, to: phases.count, by: threads.count).map({ Array(phases[$0..<$0 + threads.count]) }) {
      let first = row[0]
      if first.shape != shape { (shape, pass) = ("", "") }
      lines.append(
        (first.shape == shape ? "" : first.shape).leftAligned(26)
          + (first.pass == pass ? "" : first.pass).leftAligned(10)
          + first.phase.leftAligned(27) + first.limit.rawValue.leftAligned(7)
          + row.map { String(format: "%12.3f%8.0f %%", $0.milliseconds, 100 * $0.boundShare) }.joined())
      (shape, pass) = (first.shape, first.pass)
    }
    return lines
  }

  /// The model's convolutions in forward order, and their division into packing tasks and work items.
  private var layers: [Object.Layer] {
    let engine = NativeConvolutionEngine(instructionSet)
    return model.convolutionLayers.map { layer in
      let perItem = engine.microbatchesPerWorkItem(
        layer.geometry, imagesPerMicrobatch: batchSize / microbatches, microbatchCount: microbatches,
        workerCount: itemsFor)
      return Object.Layer(
        name: layer.name, shape: layer.geometry.summary, parameters: layer.range.count,
        packedWeights: engine.packedWeightCount(layer.geometry), packingTasks: engine.packingTaskCount(layer.geometry),
        workItems: microbatches.dividedRoundingUp(by: perItem),
        preferredImages: engine.preferredImageCount(layer.geometry))
    }
  }

  /// The machine-readable report.
  ///
  /// - Throws: `EncodingError` for a number that JSON lacks.
  func json(_ phases: [Phase]) throws -> String {
    try JSONLine.render(
      Object(
        network: model.name, batchSize: batchSize, microbatches: microbatches, itemsFor: itemsFor, n: repetitions,
        cpu: HostInfo.cpuModel, isa: instructionSet.rawValue,
        limits: threads.map {
          Object.Limits(
            threads: $0.pool.workerCount, fmaPeakGflops: $0.roofline.flops / 1e9,
            cacheGigabytesPerSecond: $0.roofline.cacheBytesPerSecond / 1e9,
            memoryGigabytesPerSecond: $0.roofline.bytesPerSecond / 1e9,
            dispatchMicroseconds: $0.dispatch.dispatch * 1e6, claimMicroseconds: $0.dispatch.claim * 1e6)
        }, layers: layers, phases: phases))
  }
}

/// A phase of the forward or the backward pass, or the packing of the weight before it.
private struct PhaseKey: Equatable {
  let isForward: Bool
  /// The phase; `nil` for packing.
  let phase: ConvolutionPhase?

  static let all = [true, false].flatMap { isForward in
    [PhaseKey(isForward: isForward, phase: nil)]
      + ConvolutionPhase.allCases.map { PhaseKey(isForward: isForward, phase: $0) }
  }

  /// The phase in words.
  var name: String {
    switch phase {
    case nil: "packing"
    case .inputPrologue: "input prologue"
    case .outputGradientPrologue: "gradient prologue"
    case .inputTransform: "input transform"
    case .outputGradientTransform: "gradient transform"
    case .windowTransform: "window transform"
    case .products: "products"
    case .weightGradientProducts: "weight gradient products"
    case .outputTransform: "output transform"
    case .weightGradientTransform: "weight gradient transform"
    case .epilogue: "epilogue"
    }
  }

  func seconds(_ times: ConvolutionTiming.Phases) -> Double {
    let pass = isForward ? times.forward : times.backward
    return phase.map { pass.seconds[$0.rawValue] } ?? pass.packing
  }

  func bound(
    _ geometry: ConvolutionGeometry, algorithm: String, batchSize: Int, microbatches: Int
  ) -> PhaseBound? {
    guard let phase else { return PhaseBound(packing: geometry, algorithm: algorithm) }
    return PhaseBound(
      phase, isForward: isForward, geometry, algorithm: algorithm, batchSize: batchSize, microbatches: microbatches)
  }
}
