import ArgumentParser

/// A number of bytes on the command line: `4194304`, `4096KiB` or `4MiB`.
struct ByteCount: ExpressibleByArgument {
  let value: Int

  private static let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0), ("", 0)]

  /// Reads a whole number and a unit; nil for anything else.
  init?(argument: String) {
    for (unit, shift) in Self.units where argument.hasSuffix(unit) {
      guard let count = Int(argument.dropLast(unit.count)), count >= 0, count <= Int.max >> 31 else {
        return nil
      }
      value = count << shift
      return
    }
    return nil
  }
}
