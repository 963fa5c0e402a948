import Collectives
import OpenMPI
import Testing

/// The window of queued sends follows what polls find in flight.
@Suite struct SendWindowTests {
  private let piece = SendPriority.pieceByteCount

  @Test func itStartsWithTwoPieces() { #expect(SendWindow().byteCount == 2 * piece) }

  @Test func itGrowsWhileTwoPollsInARowFindItEmpty() {
    var window = SendWindow()
    window.update(startedByteCount: 0, isWaiting: true)
    #expect(window.byteCount == 2 * piece)
    window.update(startedByteCount: 0, isWaiting: true)
    #expect(window.byteCount == 4 * piece)
    window.update(startedByteCount: 0, isWaiting: true)
    #expect(window.byteCount == 8 * piece)
    for _ in 0..<100 { window.update(startedByteCount: 0, isWaiting: true) }
    #expect(window.byteCount == SendWindow.maximumByteCount)
  }

  @Test func oneEmptyPollOrNothingToSendLeavesIt() {
    var window = SendWindow()
    for _ in 0..<10 {
      window.update(startedByteCount: 0, isWaiting: true)
      window.update(startedByteCount: piece, isWaiting: true)
      window.update(startedByteCount: 0, isWaiting: false)
    }
    #expect(window.byteCount == 2 * piece)
  }

  @Test func itShrinksWhileMoreThanHalfIsInFlight() {
    var window = SendWindow()
    for _ in 0..<4 { window.update(startedByteCount: 0, isWaiting: true) }
    #expect(window.byteCount == 16 * piece)
    window.update(startedByteCount: 8 * piece, isWaiting: true)
    #expect(window.byteCount == 16 * piece)
    window.update(startedByteCount: 8 * piece + 1, isWaiting: true)
    #expect(window.byteCount == 15 * piece)
    for _ in 0..<100 { window.update(startedByteCount: 40 * piece, isWaiting: false) }
    #expect(window.byteCount == SendWindow.minimumByteCount)
  }
}
