import Support
import Testing

@Suite struct WorkDivisionTests {
  @Test(arguments: [0..<12, 0..<13, 5..<6, 7..<31, -4..<3], [1, 2, 4, 5, 12, 100])
  func itemsCoverTheRangeInOrder(range: Range<Int>, itemSize: Int) {
    let division = WorkDivision(range, itemSize: itemSize)
    let items = (0..<division.count).map { division[$0] }
    #expect(items.flatMap { Array($0) } == Array(range))
    #expect(items.dropLast().allSatisfy { $0.count == itemSize })
    #expect(items.last.map { (1...itemSize).contains($0.count) } == true)
  }

  @Test func theLastItemHoldsTheRemainder() {
    let division = WorkDivision(10..<21, itemSize: 4)
    #expect(division.count == 3)
    #expect((0..<3).map { division[$0] } == [10..<14, 14..<18, 18..<21])
  }

  @Test(arguments: [0, 7])
  func anEmptyRangeHasNoItems(start: Int) {
    #expect(WorkDivision(start..<start, itemSize: 3).count == 0)
  }

  /// At least 2,048 elements, at most 128 items, whole units of 512.
  @Test(arguments: [
    (1, 2_048), (20_000, 2_048), (262_144, 2_048), (262_145, 2_560), (589_824, 4_608), (1 << 20, 8_192),
    (3_686_400, 29_184),
  ])
  func elementsHaveAtMost128Items(count: Int, itemSize: Int) {
    let division = WorkDivision(elements: 7..<7 + count)
    #expect(division.itemSize == itemSize && division.count <= 128 && division.range == 7..<7 + count)
  }

  @Test func divisionRoundsUp() {
    #expect([0, 1, 15, 16, 17, 32].map { $0.dividedRoundingUp(by: 16) } == [0, 1, 1, 1, 2, 2])
  }

  @Test func theMedianIsAnElement() {
    #expect([3.0].median == 3)
    #expect([9.0, 1, 5].median == 5)
    #expect([4, 1, 3, 2].median == 3)
  }
}
