import Foundation
import Glibc

/// A minimal HTTP server on 127.0.0.1 for one test: answers every request for a known path with fixed bytes.
final class LoopbackServer: @unchecked Sendable {
  /// What the server answers.
  enum Answer: Sendable {
    /// These bytes.
    case body(Data)
    /// The first half of these bytes under the length of all, then the connection is closed.
    case cutShort(Data)
    /// A redirect to another address.
    case redirect(String)
  }

  /// For example `http://127.0.0.1:40123`.
  let address: String
  private let answers: [String: Answer]
  private let listener: Int32
  private let lock = NSLock()
  private var paths: [String] = []

  /// Starts the server on a free port.
  init(_ answers: [String: Answer]) throws {
    self.answers = answers
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && listen(listener, 8) == 0
          && getsockname(listener, $0, &length) == 0
      }
    }
    guard listener >= 0, bound else { throw POSIXError(.EADDRNOTAVAIL) }
    self.listener = listener
    address = "http://127.0.0.1:\(UInt16(bigEndian: name.sin_port))"
    Thread.detachNewThread { [self] in serve() }
  }

  /// Stops it.
  func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

  deinit { close(listener) }

  /// The paths asked for so far.
  var requests: [String] { lock.withLock { paths } }

  private func serve() {
    while true {
      let connection = accept(listener, nil, nil)
      guard connection >= 0 else { return }
      answer(connection)
      close(connection)
    }
  }

  private func answer(_ connection: Int32) {
    var request = [UInt8](repeating: 0, count: 4096)
    let count = recv(connection, &request, request.count, 0)
    let words = String(decoding: request.prefix(max(0, count)), as: UTF8.self).split(separator: " ")
    let path = words.count > 1 ? String(words[1]) : ""
    lock.withLock { paths.append(path) }
    switch answers[path] {
    case .body(let data): send(connection, "200 OK", length: data.count, data)
    case .cutShort(let data): send(connection, "200 OK", length: data.count, data.prefix(data.count / 2))
    case .redirect(let address):
      send(connection, "302 Found", length: 0, Data(), fields: "Location: \(address)\r\n")
    case nil: send(connection, "404 Not Found", length: 0, Data())
    }
  }

  private func send(_ connection: Int32, _ status: String, length: Int, _ body: Data, fields: String = "") {
    let head = "HTTP/1.1 \(status)\r\nContent-Length: \(length)\r\n\(fields)Connection: close\r\n\r\n"
    let bytes = Array(head.utf8) + Array(body)
    var done = 0
    while done < bytes.count {
      let sent = bytes.withUnsafeBytes {
        Glibc.send(connection, $0.baseAddress.map { $0 + done }, bytes.count - done, Int32(MSG_NOSIGNAL))
      }
      guard sent > 0 else { return }
      done += sent
    }
  }
}
