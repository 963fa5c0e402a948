import Collectives
import DataParallel
import Models

/// The place where a step's numbers first stopped being finite, as all ranks agree on it.
struct NonfiniteCause: Hashable, Sendable {
  /// The place in the order of computation, such as `the output of stem`.
  let place: String
  /// The rank that has it first; `nil` if it cannot be told.
  let rank: Int?
  /// The microbatches of the batch that it may be in.
  let microbatches: [Int]
  /// The first images with such numbers, as positions in the batch; none if they cannot be told.
  let images: [Int]

  /// Collective: gathers the origins of all ranks and selects the earliest; blocks until all have contributed.
  ///
  /// - Parameters:
  ///   - origin: This rank's, or `nil` if its own numbers are finite.
  ///   - fallback: The order that a rank knows of a sum over ranks. If `nil`, it knows none.
  ///   - plan: The division of the batch.
  ///   - communicator: The ranks.
  ///   - place: Returns the name of an order.
  /// - Throws: `CommunicationError` if a message fails.
  init(
    _ origin: NonfiniteOrigin?, fallback: Int?, plan: MicrobatchPlan, communicator: any Communicator,
    place: (Int) -> String
  ) throws {
    let width = 5 + NonfiniteOrigin.maximumImageCount
    var words = [UInt64](repeating: .max, count: width)
    words[0] = UInt64(origin?.order ?? Int(Int32.max))
    words[1] = UInt64(fallback ?? Int(Int32.max))
    words[2] = UInt64(plan.localMicrobatches.lowerBound)
    words[3] = UInt64(plan.localMicrobatches.upperBound)
    words[4] = UInt64(origin?.images.count ?? 0)
    for (i, image) in (origin?.images ?? []).enumerated() { words[5 + i] = UInt64(plan.localImages.lowerBound + image) }
    let all = try communicator.allGather(words)
    let ranks = 0..<communicator.worldSize
    let first = ranks.min { all[$0 * width] < all[$1 * width] } ?? 0
    let order = all[first * width]
    if order == UInt64(Int32.max) {
      let known = ranks.map { all[$0 * width + 1] }.min() ?? order
      self.place = known == order ? "numbers that no longer exist" : place(Int(known))
      (rank, microbatches, images) = (nil, [], [])
      return
    }
    self.place = place(Int(order))
    images = (0..<Int(all[first * width + 4])).map { Int(all[first * width + 5 + $0]) }
    let isShared = images.isEmpty && ranks.allSatisfy { all[$0 * width] == order }
    rank = isShared && ranks.count > 1 ? nil : first
    microbatches =
      images.isEmpty
      ? isShared ? [] : Array(Int(all[first * width + 2])..<Int(all[first * width + 3]))
      : Set(images.map { $0 / plan.imagesPerMicrobatch }).sorted()
  }

  /// A noun phrase, such as `the output of stem for image 9 of the batch (training image 1234), microbatch 4 of rank 1`.
  ///
  /// - Parameter sampleNumber: Returns the number of the training image at a position of the batch.
  /// - Returns: The noun phrase.
  func description(_ sampleNumber: (Int) -> Int) -> String {
    var text = place
    if !images.isEmpty {
      let more = images.count == NonfiniteOrigin.maximumImageCount ? " and perhaps more" : ""
      text +=
        " for \(noun("image", images))\(more) of the batch (training \(noun("image", images.map(sampleNumber))))"
    }
    if !microbatches.isEmpty { text += ", \(noun("microbatch", plural: "microbatches", microbatches))" }
    if let rank { text += microbatches.isEmpty ? " on rank \(rank)" : " of rank \(rank)" }
    return text
  }

  private func noun(_ singular: String, plural: String? = nil, _ numbers: [Int]) -> String {
    let word = numbers.count == 1 ? singular : plural ?? singular + "s"
    if numbers.count > 2, let first = numbers.first, let last = numbers.last, last - first == numbers.count - 1 {
      return "\(word) \(first) to \(last)"
    }
    return "\(word) " + numbers.map(String.init).joined(separator: ", ")
  }
}
