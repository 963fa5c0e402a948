import Support
import Testing

@Suite struct NearestNameTests {
  @Test(arguments: [
    ("", "", 0), ("", "abc", 3), ("depth", "depth", 0), ("dpeth", "depth", 1), ("epoch", "epochs", 1),
    ("widen-factr", "widen-factor", 1), ("kitten", "sitting", 3), ("ca", "abc", 3), ("abcd", "badc", 2),
  ])
  func distanceCountsEdits(first: String, second: String, distance: Int) {
    #expect(NearestName.distance(first, second) == distance)
    #expect(NearestName.distance(second, first) == distance)
  }

  @Test func theNearestNameIsFound() {
    let names = ["depth", "widen-factor", "epochs", "epsilon", "data", "dataset"]
    #expect(NearestName.find("widenfactor", in: names) == "widen-factor")
    #expect(NearestName.find("epoch", in: names) == "epochs")
    #expect(NearestName.find("date", in: names) == "data")
    #expect(NearestName.find("dataste", in: names) == "dataset")
    #expect(NearestName.find("frobnicate", in: names) == nil)
    #expect(NearestName.find("frobnicate", in: []) == nil)
    #expect(NearestName.find("dept", in: names, within: 0) == nil)
  }
}
