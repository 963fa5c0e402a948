import Models
import Tensors

extension ConvolutionExample {
  /// Returns what an engine computes.
  public func results(of engine: any ConvolutionEngine) -> ConvolutionResults<Float> {
    let memory = OperandArena()
    // The engine gets bare pointers; what they point to must outlive them.
    return withExtendedLifetime(memory) { results(of: engine, memory) }
  }

  private func results(
    of engine: any ConvolutionEngine, _ memory: OperandArena
  ) -> ConvolutionResults<Float> {
    let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
    let weight = memory.copy(weight)
    // What was in memory before must not matter.
    let packed = memory.nanFilled(engine.packedWeightCount(geometry))
    let microbatches = MicrobatchRange(imageCount: imageCount)
    let scratch = memory.nanFilled(engine.scratchCount(geometry, microbatches))
    engine.packWeight(geometry, for: .forward, weight, into: packed)
    let input = ConvolutionInput(
      activation: memory.copy(x),
      normalization: isStem
        ? nil : NormalizedReLU(scale: memory.copy(scale), shift: memory.copy(shift)))
    let y = AlignedBuffer<Float>(count: imageCount * geometry.outputCount)
    let outputSums = AlignedBuffer<Double>(count: 2 * filters)
    engine.forward(
      geometry, microbatches, input: input, weight: weight, packed: packed,
      bias: memory.copy(bias),
      output: ConvolutionOutput(
        activation: y.pointer, addend: memory.copy(addend), sums: outputSums.pointer),
      scratch: scratch)

    let inputGradient = AlignedBuffer<Float>(count: isStem ? 0 : x.count)
    let inputSums = AlignedBuffer<Double>(count: isStem ? 0 : 2 * channels)
    let parameterGradient = AlignedBuffer<Float>(count: geometry.weightCount + filters)
    engine.packWeight(geometry, for: .backward, weight, into: packed)
    withUnsafePointer(to: parameterGradient.pointer) { address in
      engine.backward(
        geometry, microbatches, input: input, weight: weight, packed: packed,
        outputGradient: ConvolutionOutputGradient(
          gradient: memory.copy(gradient),
          normalization: NormalizationBackward(
            activation: memory.copy(activation), gradientScale: memory.copy(gradientScale),
            activationScale: memory.copy(activationScale), constant: memory.copy(constant))),
        parameterGradient: ConvolutionParameterGradient(destinations: address, hasBias: true),
        inputGradient: isStem
          ? nil
          : ConvolutionInputGradient(
            gradient: inputGradient.pointer, mean: memory.copy(mean), sums: inputSums.pointer),
        scratch: scratch)
    }
    return ConvolutionResults(
      output: Array(y.elements), outputSums: outputSums.elements.map { Float($0) },
      inputGradient: Array(inputGradient.elements),
      inputGradientSums: inputSums.elements.map { Float($0) },
      weightGradient: Array(parameterGradient.elements.prefix(geometry.weightCount)),
      biasGradient: Array(parameterGradient.elements.suffix(filters)))
  }
}

/// Memory for operands, which lives as long as this object.
final class OperandArena {
  private var buffers: [AlignedBuffer<Float>] = []

  /// Returns aligned memory with some numbers.
  func copy(_ values: [Float]) -> UnsafePointer<Float> {
    let buffer = AlignedBuffer<Float>(count: values.count)
    _ = buffer.elements.update(fromContentsOf: values)
    buffers.append(buffer)
    return UnsafePointer(buffer.pointer)
  }

  /// Returns aligned memory without a single number.
  func nanFilled(_ count: Int) -> UnsafeMutablePointer<Float> {
    let buffer = AlignedBuffer<Float>(count: count)
    buffer.elements.update(repeating: .nan)
    buffers.append(buffer)
    return buffer.pointer
  }
}
