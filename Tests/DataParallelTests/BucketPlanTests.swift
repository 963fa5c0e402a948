import DataParallel
import Support
import Testing

/// Every element is in one bucket, and buckets have the planned sizes.
@Suite struct BucketPlanTests {
  private static let sizes = [0, 1, 511, 512, 513, 10_007, 131_072, 262_144, 295_866, 4_637_994]

  @Test(arguments: sizes, [4096, 65_536, 100_000, 4 << 20])
  func bucketsAreAdjacentFromTheEnd(elementCount: Int, byteCount: Int) {
    let plan = BucketPlan(elementCount: elementCount, bucketByteCount: byteCount)
    var end = elementCount
    for bucket in plan.buckets {
      #expect(bucket.upperBound == end && !bucket.isEmpty)
      #expect(bucket.lowerBound.isMultiple(of: BucketPlan.chunkLength))
      #expect(bucket.count * 4 <= byteCount)
      end = bucket.lowerBound
    }
    #expect(end == 0)
  }

  /// Otherwise two threads would write the checksum or the sum of squares of one chunk.
  @Test func workItemsOfElementsHaveWholeChunks() {
    #expect(WorkDivision.elementUnit.isMultiple(of: BucketPlan.chunkLength))
  }

  @Test func firstAndLastAreSmall() {
    let plan = BucketPlan(elementCount: 36_479_219, bucketByteCount: 4 << 20)
    #expect(plan.buckets.count == 37)
    #expect(plan.buckets[0].count * 4 <= 512 << 10 && plan.buckets[0].count * 4 > 500 << 10)
    #expect(plan.buckets[36] == 0..<131_072)
    let middle = plan.buckets[1...35].map(\.count)
    #expect((middle.max() ?? 0) - (middle.min() ?? 0) <= BucketPlan.chunkLength)
  }

  @Test func digestsOfDifferentPlansDiffer() {
    let digests = [4096, 8192, 65_536].map {
      BucketPlan(elementCount: 100_000, bucketByteCount: $0).digest
    }
    #expect(Set(digests).count == 3)
    #expect(BucketPlan(elementCount: 100_000, bucketByteCount: 4096).digest == digests[0])
  }
}
