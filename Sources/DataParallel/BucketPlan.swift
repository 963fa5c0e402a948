import Support

/// The division of the flat gradient into buckets, and of each bucket into one shard per rank.
///
/// It is computed once from sizes alone, so it is the same on every rank and in every step. Boundaries ignore tensors.
/// Buckets are numbered in the order in which the backward pass completes them, so bucket 0 has the last elements. The
/// first bucket is small, so that communication starts early. The last is small too, because no computation remains to
/// hide it. The bucket size affects speed but not results.
public struct BucketPlan: Hashable, Sendable {
  /// The elements per chunk: buckets and shards start at multiples of it.
  ///
  /// 2 KiB: whole cache lines, and small enough for equal shards of a small bucket.
  public static let chunkLength = 512
  /// The default bytes per bucket: 4 MiB, for which the transfer time far exceeds the latency of a message.
  public static let defaultByteCount = 4 << 20
  /// The valid bytes per bucket.
  public static let byteCounts = 4096...(1 << 30)
  /// The maximum bytes of the first and of the last bucket.
  private static let smallByteCount = 512 << 10

  /// The length of the flat gradient.
  public let elementCount: Int
  /// The elements of every bucket, in the order in which buckets are reduced.
  public let buckets: [Range<Int>]

  /// Divides a gradient into buckets.
  ///
  /// - Parameters:
  ///   - elementCount: The length of the flat gradient.
  ///   - bucketByteCount: The bytes per bucket between the first and the last, within ``byteCounts``.
  public init(elementCount: Int, bucketByteCount: Int) {
    precondition(Self.byteCounts.contains(bucketByteCount), "the bytes per bucket are outside the valid range")
    self.elementCount = elementCount
    let chunks = elementCount.dividedRoundingUp(by: Self.chunkLength)
    let most = bucketByteCount / (4 * Self.chunkLength)
    let small = min(most, Self.smallByteCount / (4 * Self.chunkLength))
    var bounds = [0]
    if chunks > 2 * small {
      let middle = chunks - 2 * small
      let count = middle.dividedRoundingUp(by: most)
      bounds += (0...count).map { small + $0 * middle / count }
    } else if chunks > small {
      bounds.append(chunks / 2)
    }
    bounds.append(chunks)
    let ends = bounds.map { min($0 * Self.chunkLength, elementCount) }
    buckets = zip(ends, ends.dropFirst()).map { $0..<$1 }.reversed().filter { !$0.isEmpty }
  }

  /// The number of chunks; the last may be shorter.
  public var chunkCount: Int { elementCount.dividedRoundingUp(by: Self.chunkLength) }

  /// Divides ranges that start at chunks into shards of whole chunks, as equal as possible per range and in total.
  ///
  /// - Parameters:
  ///   - ranges: The elements of each bucket.
  ///   - count: The number of shards per range.
  /// - Returns: For every range, `count` adjacent shards; some are empty if there are fewer chunks.
  static func shards(of ranges: [Range<Int>], count: Int) -> [[Range<Int>]] {
    var totals = [Int](repeating: 0, count: count)
    return ranges.map { range in
      let chunks = range.count.dividedRoundingUp(by: chunkLength)
      // The remaining chunks go to the shards with the smallest totals so far.
      let leastLoaded = totals.indices.sorted { (totals[$0], $0) < (totals[$1], $1) }
      var sizes = [Int](repeating: chunks / count, count: count)
      for index in leastLoaded.prefix(chunks % count) { sizes[index] += 1 }
      var first = range.lowerBound
      return sizes.indices.map { index in
        totals[index] += sizes[index]
        let end = min(first + sizes[index] * chunkLength, range.upperBound)
        defer { first = end }
        return first..<end
      }
    }
  }

  /// A digest of all bucket boundaries, for comparison between ranks.
  public var digest: ConsistencyDigest {
    var digest = ConsistencyDigest()
    for bucket in buckets {
      digest.combine(UInt64(bucket.lowerBound))
      digest.combine(UInt64(bucket.upperBound))
    }
    return digest
  }
}
