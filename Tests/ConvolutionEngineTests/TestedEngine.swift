import Models
import Tensors
import TestSupport
import Testing

/// An engine, and the properties in which engines differ.
struct TestedEngine: CustomTestStringConvertible, Sendable {
  let engine: any ConvolutionEngine
  /// Whether z is formed by one fused multiply-add.
  private let isFused: Bool

  /// The portable engine, and the native one with every instruction set that this CPU supports.
  static let all: [TestedEngine] =
    [TestedEngine(engine: BLASConvolutionEngine(), isFused: false)]
    + InstructionSet.allCases.filter(\.isSupported).map {
      TestedEngine(engine: NativeConvolutionEngine($0), isFused: true)
    }

  var testDescription: String { "\(engine.name) \(engine.instructions)" }

  /// Returns whether outputs share rounding errors with their neighbors.
  func mixes(_ geometry: ConvolutionGeometry) -> Bool {
    let algorithm = (engine as? NativeConvolutionEngine)?.algorithm(geometry)
    return algorithm == "winograd" || algorithm == "polyphase"
  }

  /// Returns scratch memory for a convolution.
  func scratch(_ shape: ConvolutionCase) -> GuardedBuffer<Float> {
    GuardedBuffer(
      [Float](repeating: .nan, count: engine.scratchCount(shape.geometry, MicrobatchRange(imageCount: shape.images))))
  }

  /// Returns the packed weight.
  func packed(
    _ shape: ConvolutionCase, _ weight: GuardedBuffer<Float>, for direction: ConvolutionDirection
  ) -> GuardedBuffer<Float> {
    let packed = GuardedBuffer(
      [Float](repeating: .nan, count: engine.packedWeightCount(shape.geometry)))
    engine.packWeight(shape.geometry, for: direction, weight.pointer, into: packed.pointer)
    return packed
  }

  /// Returns z in fp32, rounded as the engine rounds it, so that every ReLU has the same sign.
  func normalized(
    _ x: [Float], _ map: (scale: [Float], shift: [Float])?, channels: Int
  ) -> [Float] {
    guard let map else { return x }
    return x.enumerated().map { i, value in
      let (scale, shift) = (map.scale[i % channels], map.shift[i % channels])
      return max(0, isFused ? shift.addingProduct(scale, value) : scale * value + shift)
    }
  }
}
