import Foundation

/// The caches as `doctor` prints them.
extension CPUCaches {
  /// The largest plausible L2 per core, 64 MiB: more than any CPU has.
  private static let largestL2 = 64 << 20

  /// The caches of every level, such as `L1d 48 KiB per core, L2 1 MiB per core, L3 32 MiB for 2 cores`.
  ///
  /// Cores whose caches differ are listed with their number: `L2 2 MiB per core on 1 core and 1 MiB per core on 3 cores`.
  /// If Linux reports no caches, `unknown` with the reason.
  public var summary: String {
    let names = Set(cachesOfCores.flatMap { $0.caches.map { Name(level: $0.level, text: $0.name) } })
    if names.isEmpty {
      let core = cachesOfCores.first?.core ?? 0
      return "unknown, because Linux reports none in /\(Self.directory(of: core))"
    }
    return names.sorted { ($0.level, $0.text) < ($1.level, $1.text) }.map { name in
      "\(name.text) " + groups(name.level, name.text)
    }.joined(separator: ", ")
  }

  /// Explains an L2 that is missing, implausible or different between the cores.
  ///
  /// - Parameter workingSet: The bytes that kernels use; `nil` if OpenBLAS computes, which selects its own block sizes.
  /// - Returns: A sentence without a full stop; `nil` for a usual L2.
  public func note(workingSet: Int?) -> String? {
    guard let problem else { return nil }
    let consequence =
      workingSet.map {
        "kernels use \(Self.size($0)) of L2 with 64 channels on every CPU, so results do not depend on its size"
      } ?? "OpenBLAS selects the block sizes of the blas engine"
    return "\(problem); \(consequence)"
  }

  /// Advises where a core has less than half of the L2 that kernels use.
  ///
  /// With 512 KiB, as Zen 3 has, they reach the speeds of docs/results, so a little less than all is no problem. A core's
  /// share is the size of its L2, divided by the number of usable cores that have the same one.
  ///
  /// - Parameter workingSet: The bytes that kernels use; `nil` if OpenBLAS computes.
  /// - Returns: A sentence with a full stop; `nil` if L2 is large enough or not plausible.
  public func advice(workingSet: Int?) -> String? {
    let usable = Set(cachesOfCores.map(\.core))
    let shares = secondLevel.compactMap { cache -> (bytes: Int, cores: Int)? in
      guard let cache, Self.isPlausible(cache), let bytes = cache.byteCount else { return nil }
      let cores = cache.cores.intersection(usable).count
      return (bytes / cores, cores)
    }
    guard let workingSet, let least = shares.min(by: { $0.bytes < $1.bytes }), 2 * least.bytes < workingSet else {
      return nil
    }
    let alternative = least.cores > 1 ? "fewer --threads" : "--engine blas"
    return
      "rank 0 has \(Self.size(least.bytes)) of L2 per core, but kernels use \(Self.size(workingSet)) with 64 channels; "
      + "compare the speed of \(alternative) with wrn-dist benchmark step."
  }

  /// The name of a level's caches.
  private struct Name: Hashable {
    let level: Int
    let text: String
  }

  /// The L2 of every core.
  private var secondLevel: [Cache?] {
    cachesOfCores.map { $0.caches.first { $0.level == 2 } }
  }

  private var problem: String? {
    let found = secondLevel
    if found.contains(nil) {
      return found.allSatisfy { $0 == nil } ? "Linux reports no L2" : "Linux reports no L2 of some cores"
    }
    let caches = found.compactMap { $0 }
    if let wrong = caches.first(where: { !Self.isPlausible($0) }) {
      guard let bytes = wrong.byteCount else { return "Linux reports an L2 without a size" }
      return "an L2 of \(Self.size(bytes)) is implausible"
    }
    let sizes = Set(caches.map { Share(bytes: $0.byteCount, cores: $0.cores.count) })
    return sizes.count > 1 ? "L2 differs between the cores of rank 0" : nil
  }

  private static func isPlausible(_ cache: Cache) -> Bool {
    guard let bytes = cache.byteCount else { return false }
    return bytes > 0 && bytes / cache.cores.count <= largestL2
  }

  /// The size of a cache and the number of its cores; `nil` instead of a size that Linux does not report.
  private struct Share: Hashable {
    let bytes: Int?
    let cores: Int
  }

  /// The distinct caches of a level, each with its number of usable cores if there are several.
  private func groups(_ level: Int, _ name: String) -> String {
    var order: [Share?] = []
    var counts: [Share?: Int] = [:]
    for (_, caches) in cachesOfCores {
      let share = caches.first { $0.level == level && $0.name == name }.map {
        Share(bytes: $0.byteCount, cores: $0.cores.count)
      }
      if counts[share] == nil { order.append(share) }
      counts[share, default: 0] += 1
    }
    let texts = order.map { share in
      let size = share.map { $0.bytes.map(Self.size) ?? "of unknown size" } ?? "none"
      let scope = share.map { $0.cores == 1 ? " per core" : " for \($0.cores) cores" } ?? ""
      let count = counts[share] ?? 0
      return size + scope + (order.count == 1 ? "" : " on \(count) core\(count == 1 ? "" : "s")")
    }
    return texts.joined(separator: " and ")
  }

  /// Formats bytes in the largest unit that is not above them: `0 KiB`, `48 KiB`, `1.25 MiB`, `2 GiB`.
  static func size(_ bytes: Int) -> String {
    let (unit, name) = bytes >= 1 << 30 ? (1 << 30, "GiB") : bytes >= 1 << 20 ? (1 << 20, "MiB") : (1 << 10, "KiB")
    // Two decimals at most; %g would write 1e+05 for large numbers.
    let hundredths = (Double(bytes) / Double(unit) * 100).rounded() / 100
    return "\(hundredths == hundredths.rounded() ? String(Int(hundredths)) : "\(hundredths)") \(name)"
  }
}
