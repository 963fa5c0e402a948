/// The name in a list that a misspelled one probably means.
public enum NearestName {
  /// Returns the name with the smallest edit distance, if it is near.
  ///
  /// - Parameters:
  ///   - word: The misspelled name.
  ///   - names: The known names; of equally distant ones the first is returned.
  ///   - limit: The largest distance that counts as near. If `nil`, a third of the word's length, but at least 2.
  /// - Returns: The name, or `nil` if none is near.
  public static func find(_ word: String, in names: some Sequence<String>, within limit: Int? = nil) -> String? {
    let limit = limit ?? max(2, word.count / 3)
    var best: (name: String, distance: Int)?
    for name in names {
      let found = distance(word, name)
      if found <= limit, found < best?.distance ?? .max { best = (name, found) }
    }
    return best?.name
  }

  /// Returns the edit distance of two words: the least number of insertions, deletions, substitutions and transpositions of
  /// neighbors.
  ///
  /// This is the optimal string alignment distance: no substring is edited twice.
  ///
  /// - Returns: 0 for equal words; at most the length of the longer one.
  public static func distance(_ first: String, _ second: String) -> Int {
    let (a, b) = (Array(first), Array(second))
    // rows[i][j]: the distance of the first i and the first j characters.
    var rows = [Array(0...b.count)]
    for i in a.indices {
      var row = [i + 1]
      for j in b.indices {
        let substitution = rows[i][j] + (a[i] == b[j] ? 0 : 1)
        var least = min(substitution, rows[i][j + 1] + 1, row[j] + 1)
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = min(least, rows[i - 1][j - 1] + 1) }
        row.append(least)
      }
      rows.append(row)
    }
    return rows[a.count][b.count]
  }
}
