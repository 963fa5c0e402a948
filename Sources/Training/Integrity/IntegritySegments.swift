import DataParallel
import Tensors

/// The division of the flat parameters into the blocks that are checked: chunks, divided at the bounds of tensors.
///
/// So the shards of ranks and the work items of updates have whole segments, and each segment belongs to one tensor.
struct IntegritySegments {
  /// The first element of every segment, and at the end the number of elements.
  let bounds: [Int]
  /// The owner of every segment.
  let owners: [Int]
  private let firstOfChunk: [Int]
  private let parameters: [Parameter]

  /// Divides the parameters.
  ///
  /// - Parameters:
  ///   - layout: The tensors, without gaps.
  ///   - shards: For every bucket, the elements that each rank owns.
  init(_ layout: ParameterLayout, shards: [[Range<Int>]]) {
    parameters = layout.parameters
    let length = BucketPlan.chunkLength
    let chunkStarts = Array(stride(from: 0, to: layout.elementCount, by: length))
    let starts = Set(chunkStarts + layout.parameters.map(\.range.lowerBound)).sorted()
    bounds = starts + [layout.elementCount]
    var owners = [Int](repeating: 0, count: starts.count)
    var firstOfChunk: [Int] = []
    for (segment, start) in starts.enumerated() where start.isMultiple(of: length) { firstOfChunk.append(segment) }
    firstOfChunk.append(starts.count)
    for bucket in shards {
      for (rank, shard) in bucket.enumerated() where !shard.isEmpty {
        let chunks = shard.lowerBound / length..<shard.upperBound.dividedRoundingUp(by: length)
        for segment in firstOfChunk[chunks.lowerBound]..<firstOfChunk[chunks.upperBound] { owners[segment] = rank }
      }
    }
    self.owners = owners
    self.firstOfChunk = firstOfChunk
  }

  /// The number of segments.
  var count: Int { owners.count }

  /// Returns the segments of whole chunks; the last chunk of the parameters may be shorter.
  func segments(of elements: Range<Int>) -> Range<Int> {
    let length = BucketPlan.chunkLength
    let end = elements.isEmpty ? elements.lowerBound / length : elements.upperBound.dividedRoundingUp(by: length)
    return firstOfChunk[elements.lowerBound / length]..<firstOfChunk[end]
  }

  /// Returns the elements of a segment.
  func elements(of segment: Int) -> Range<Int> { bounds[segment]..<bounds[segment + 1] }

  /// Returns the name of a segment's tensor.
  func name(of segment: Int) -> String {
    parameters.last { $0.range.lowerBound <= bounds[segment] }?.name ?? "unknown"
  }
}
