import Models
import Tensors

/// The memory of a tile block that should stay in the L2 cache of a core while the `native` kernels compute.
///
/// It is that of the transformed input and the transformed output or output gradient together, for 3×3 convolutions of
/// stride 1 with 64 channels: the last layers of the narrowest model, k = 1. With k times the channels it is at least
/// k times as large. It depends on no property of the CPU.
public struct TileBlockWorkingSet: Sendable {
  /// Bytes.
  public let byteCount: Int

  /// Computes the working set from the size of the engine's tile blocks.
  public init(_ engine: NativeConvolutionEngine) {
    let (size, channels) = (8, 64)
    let geometry = ConvolutionGeometry(
      inputHeight: size, inputWidth: size, inputChannels: channels, outputChannels: channels, kernelSize: 3, stride: 1)
    // A tile has 4×4 output pixels and 36 positions.
    let tiles = engine.preferredImageCount(geometry) * (size / 4) * (size / 4)
    byteCount = 2 * 4 * 36 * tiles * channels
  }
}
