import Tensors

/// How the transformed gradient of a kernel, dU, is cut so that what is at work stays in the second-level cache.
///
/// A dU that is the sum over several units is kept whole. One that comes from a single unit is formed and transformed back
/// in blocks of 32 channels and 64 filters and never exists as a whole: at 8×8 pixels and 256 channels that saved a sixth
/// of the way back.
struct KernelBlocks {
  /// The rows (channels) of the largest block.
  let rows: Int
  /// The columns (filters) of a block.
  let columns: Int
  private let channels: Int
  private let filters: Int

  init(_ geometry: ConvolutionGeometry, isWhole: Bool) {
    (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
    let width = filters.isMultiple(of: 64) ? 64 : filters.isMultiple(of: 32) ? 32 : 16
    (rows, columns) = isWhole ? (channels, filters) : (min(32, channels), width)
  }

  /// Calls `body` for every block.
  @inline(__always)
  func forEachBlock(_ body: (KernelBlock) -> Void) {
    for filter in stride(from: 0, to: filters, by: columns) {
      for channel in stride(from: 0, to: channels, by: rows) {
        body(
          KernelBlock(
            channel: channel, filter: filter, rows: min(rows, channels - channel), columns: columns))
      }
    }
  }
}

/// A block of a transformed kernel's gradient, `[F, rows, columns]`.
struct KernelBlock {
  /// The first channel.
  let channel: Int
  /// The first filter.
  let filter: Int
  /// Channels.
  let rows: Int
  /// Filters.
  let columns: Int

  /// From one frequency to the next.
  var frequencyStride: Int { TileUnit.frequencyStride(rows: rows, columns: columns) }
}
