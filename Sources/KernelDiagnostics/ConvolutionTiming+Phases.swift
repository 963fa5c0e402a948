import Models
import Tensors

extension ConvolutionTiming {
  /// The times of one pass by phase.
  public struct PassPhases: Sendable {
    /// Seconds per batch, by ``ConvolutionPhase/rawValue``; 0 for phases that the pass lacks.
    public fileprivate(set) var seconds = [Double](repeating: 0, count: ConvolutionPhase.allCases.count)
    /// Seconds per batch to transform or pack the weight before the pass.
    public fileprivate(set) var packing = 0.0
  }

  /// The times of both passes by phase.
  public struct Phases: Sendable {
    /// The forward pass.
    public fileprivate(set) var forward = PassPhases()
    /// The backward pass, of both gradients.
    public fileprivate(set) var backward = PassPhases()
  }

  /// Times the phases of both passes, one batch after another.
  ///
  /// - Parameters:
  ///   - instructionSet: The kernels to time; this CPU must support them.
  ///   - repetitions: The batches, after one for warm-up.
  /// - Returns: The median of each phase.
  public func measurePhases(_ instructionSet: InstructionSet, repetitions: Int) -> Phases {
    let counts = AlignedBuffer<UInt64>(count: ConvolutionPhase.allCases.count)
    let engine = NativeConvolutionEngine(
      instructionSet, kernels: instructionSet.kernels, recording: PhaseTicks(counts.pointer))
    let packed = AlignedBuffer<Float>(count: engine.packedWeightCount(geometry))
    let scratch = AlignedBuffer<Float>(count: engine.scratchCount(geometry, microbatches(engine)))
    func once(_ direction: ConvolutionDirection) -> PassPhases {
      counts.elements.update(repeating: 0)
      var result = PassPhases()
      result.packing = MachineRoofline.seconds {
        engine.packWeight(geometry, for: direction, weight.pointer, into: packed.pointer)
      }
      let seconds = MachineRoofline.seconds {
        direction == .forward ? self.forward(engine, packed, scratch) : self.backward(engine, packed, scratch)
      }
      let total = Double(counts.elements.reduce(0, +))
      result.seconds = counts.elements.map { seconds * Double($0) / max(total, 1) }
      return result
    }
    var (forward, backward) = ([PassPhases](), [PassPhases]())
    for repetition in 0...repetitions {
      let passes = (once(.forward), once(.backward))
      guard repetition > 0 else { continue }
      forward.append(passes.0)
      backward.append(passes.1)
    }
    return Phases(forward: PassPhases(mediansOf: forward), backward: PassPhases(mediansOf: backward))
  }

  /// Times the phases in several threads at once, each with a batch.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - batchSize: Images per thread.
  ///   - microbatches: Microbatches per thread.
  ///   - workerCount: Each thread's work items are those of a rank with that many threads.
  ///   - instructionSet: The kernels to time; this CPU must support them.
  ///   - repetitions: The batches, after one for warm-up.
  ///   - pool: Its workers compute.
  /// - Returns: The medians of all threads' medians.
  public static func measurePhases(
    _ geometry: ConvolutionGeometry, batchSize: Int, microbatches: Int, workerCount: Int = 1,
    _ instructionSet: InstructionSet, repetitions: Int, over pool: WorkerPool
  ) -> Phases {
    let all = pool.measureTogether {
      ConvolutionTiming(geometry, batchSize: batchSize, microbatches: microbatches, workerCount: workerCount)
        .measurePhases(instructionSet, repetitions: repetitions)
    }
    return Phases(
      forward: PassPhases(mediansOf: all.map(\.forward)), backward: PassPhases(mediansOf: all.map(\.backward)))
  }
}

extension ConvolutionTiming.PassPhases {
  fileprivate init(mediansOf passes: [Self]) {
    packing = passes.map(\.packing).median
    seconds = ConvolutionPhase.allCases.map { phase in passes.map { $0.seconds[phase.rawValue] }.median }
  }
}
