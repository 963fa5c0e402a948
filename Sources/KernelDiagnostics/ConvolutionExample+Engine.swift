import Models
import Tensors

extension ConvolutionExample {
  /// Returns the results of an engine.
  public func results(of engine: any ConvolutionEngine) -> ConvolutionResults<Float> {
    let arena = OperandArena()
    // The engine gets bare pointers; the memory that they point to must outlive them.
    return withExtendedLifetime(arena) { results(of: engine, arena) }
  }

  private func results(of engine: any ConvolutionEngine, _ arena: OperandArena) -> ConvolutionResults<Float> {
    let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
    let count = microbatches.microbatchCount
    let hasOwnCoefficients = count > 1
    let weight = arena.copy(weight)
    // Results must not depend on what the memory held before.
    let packed = arena.nanFilled(engine.packedWeightCount(geometry))
    let scratch = arena.nanFilled(engine.scratchCount(geometry, microbatches))
    engine.packWeight(geometry, for: .forward, weight, into: packed)
    let input = ConvolutionInput(
      activation: arena.copy(x),
      normalization: inputTerms.isNormalized
        ? NormalizedReLU(
          scale: arena.copy(scale), shift: arena.copy(shift), microbatchStride: hasOwnCoefficients ? channels : 0)
        : nil,
      dropout: inputTerms.hasDropout
        ? DropoutMask(words: arena.copy(dropoutWords), scale: Float(1 / (1 - Self.dropoutProbability))) : nil)
    let addend = arena.copy(addend)
    let y = addsInPlace ? addend : arena.nanFilled(imageCount * geometry.outputCount)
    let outputSums = AlignedBuffer<Double>(count: count * 2 * filters)
    engine.forward(
      geometry, microbatches, input: input, weight: weight, packed: packed, bias: arena.copy(bias),
      output: ConvolutionOutput(activation: y, addend: addend, sums: outputSums.pointer), scratch: scratch)

    let inputCount = isStem ? 0 : x.count
    let inputGradient = inputTerms.hasAddend ? arena.copy(inputAddend) : arena.nanFilled(inputCount)
    let inputSums = AlignedBuffer<Double>(count: inputTerms.isMasked ? count * 2 * channels : 0)
    let parameterGradients = (0..<count).map { _ in arena.nanFilled(geometry.weightCount + filters) }
    let outputGradient = outputGradient(arena, microbatchStride: hasOwnCoefficients ? filters : 0)
    engine.packWeight(geometry, for: .backward, weight, into: packed)
    parameterGradients.withUnsafeBufferPointer { destinations in
      guard let destinations = destinations.baseAddress else { return }
      engine.backward(
        geometry, microbatches, input: input, weight: weight, packed: packed, outputGradient: outputGradient,
        parameterGradient: ConvolutionParameterGradient(destinations: destinations, hasBias: true),
        inputGradient: isStem
          ? nil
          : ConvolutionInputGradient(
            gradient: inputGradient, mean: inputTerms.isMasked ? UnsafePointer(arena.copy(mean)) : nil,
            sums: inputTerms.isMasked ? inputSums.pointer : nil,
            addend: inputTerms.hasAddend ? UnsafePointer(inputGradient) : nil,
            microbatchStride: hasOwnCoefficients ? channels : 0),
        scratch: scratch)
    }
    func values(_ start: UnsafeMutablePointer<Float>, _ count: Int) -> [Float] {
      Array(UnsafeBufferPointer(start: start, count: count))
    }
    return ConvolutionResults(
      output: values(y, self.addend.count), outputSums: outputSums.elements.map { Float($0) },
      inputGradient: values(inputGradient, inputCount), inputGradientSums: inputSums.elements.map { Float($0) },
      weightGradient: parameterGradients.flatMap { values($0, geometry.weightCount) },
      biasGradient: parameterGradients.flatMap { values($0 + geometry.weightCount, filters) },
      savedGradient: outputGradient.savedGradient.map { values($0, gradient.count) } ?? [])
  }

  private func outputGradient(_ arena: OperandArena, microbatchStride: Int) -> ConvolutionOutputGradient {
    let gradient = arena.copy(gradient)
    let addend = gradientTerms.hasAddend ? arena.copy(gradientAddend) : nil
    return ConvolutionOutputGradient(
      gradient: gradient,
      normalization: gradientTerms.hasNormalization
        ? NormalizationBackward(
          activation: arena.copy(activation), gradientScale: arena.copy(gradientScale),
          activationScale: arena.copy(activationScale), constant: arena.copy(constant),
          microbatchStride: microbatchStride)
        : nil,
      addend: addend.map { UnsafePointer($0) }, savedGradient: gradientTerms.isSaved ? addend ?? gradient : nil)
  }
}

/// Memory of operands, freed together with this object.
final class OperandArena {
  private var buffers: [AlignedBuffer<Float>] = []
  private var words: [AlignedBuffer<UInt16>] = []

  /// Returns aligned memory that holds `values`.
  func copy(_ values: [Float]) -> UnsafeMutablePointer<Float> {
    let memory = nanFilled(values.count)
    memory.update(from: values, count: values.count)
    return memory
  }

  /// Returns aligned memory that holds `values`.
  func copy(_ values: [UInt16]) -> UnsafeMutablePointer<UInt16> {
    let buffer = AlignedBuffer<UInt16>(count: values.count)
    buffer.pointer.update(from: values, count: values.count)
    words.append(buffer)
    return buffer.pointer
  }

  /// Returns aligned memory of `count` NaNs.
  func nanFilled(_ count: Int) -> UnsafeMutablePointer<Float> {
    let buffer = AlignedBuffer<Float>(count: count)
    buffer.elements.update(repeating: .nan)
    buffers.append(buffer)
    return buffer.pointer
  }
}
