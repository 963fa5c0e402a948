/// How the flat gradient is cut into buckets, the pieces that ranks exchange one after another, and each bucket into
/// slices, one a rank.
///
/// The cuts are made once, from sizes alone, so they are the same on every rank and in every step. They go through the
/// flat vector, not along tensors. Buckets are numbered in the order in which the way back completes them, so bucket 0
/// has the last elements. The first is small, so that the exchange begins early, and so is the last, because nothing is
/// left to hide it. No sum depends on them: the size of a bucket decides speed alone.
public struct BucketPlan: Hashable, Sendable {
  /// The elements of a chunk: buckets and slices begin at multiples of it.
  ///
  /// 2 KiB: whole cache lines, and small enough that ranks get equal shares of a small bucket.
  public static let chunkLength = 512
  /// The bytes of a bucket unless somebody says otherwise: large enough that a message's latency is lost in its transfer.
  public static let defaultByteCount = 4 << 20
  /// The bytes that a bucket may have.
  public static let byteCounts = 4096...(1 << 30)
  /// The bytes of the first and of the last bucket, at most.
  private static let smallByteCount = 512 << 10

  /// The length of the flat gradient.
  public let elementCount: Int
  /// The elements of every bucket, in the order in which they are exchanged.
  public let buckets: [Range<Int>]

  /// Cuts a gradient.
  ///
  /// - Parameters:
  ///   - elementCount: The length of the flat gradient.
  ///   - bucketByteCount: The bytes of a bucket that is neither the first nor the last, within ``byteCounts``.
  public init(elementCount: Int, bucketByteCount: Int) {
    precondition(Self.byteCounts.contains(bucketByteCount), "a bucket cannot have that size")
    self.elementCount = elementCount
    let chunks = (elementCount + Self.chunkLength - 1) / Self.chunkLength
    let most = bucketByteCount / (4 * Self.chunkLength)
    let small = min(most, Self.smallByteCount / (4 * Self.chunkLength))
    var bounds = [0]
    if chunks > 2 * small {
      let middle = chunks - 2 * small
      let count = (middle + most - 1) / most
      bounds += (0...count).map { small + $0 * middle / count }
    } else if chunks > small {
      bounds.append(chunks / 2)
    }
    bounds.append(chunks)
    let ends = bounds.map { min($0 * Self.chunkLength, elementCount) }
    buckets = zip(ends, ends.dropFirst()).map { $0..<$1 }.reversed().filter { !$0.isEmpty }
  }

  /// The number of chunks, the last possibly short.
  public var chunkCount: Int { (elementCount + Self.chunkLength - 1) / Self.chunkLength }

  /// Cuts ranges that begin at chunks into slices of whole chunks, as equal as possible in each range and in total.
  ///
  /// - Parameters:
  ///   - ranges: The elements, one range a bucket.
  ///   - count: The number of slices of each.
  /// - Returns: For every range, `count` slices that follow one another; some are empty if there are fewer chunks.
  static func shards(of ranges: [Range<Int>], count: Int) -> [[Range<Int>]] {
    var totals = [Int](repeating: 0, count: count)
    return ranges.map { range in
      let chunks = (range.count + chunkLength - 1) / chunkLength
      // What is left over goes to those who have least so far.
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

  /// A digest of all cuts, to be compared between ranks.
  public var digest: ConsistencyDigest {
    var digest = ConsistencyDigest()
    for bucket in buckets {
      digest.combine(UInt64(bucket.lowerBound))
      digest.combine(UInt64(bucket.upperBound))
    }
    return digest
  }
}
