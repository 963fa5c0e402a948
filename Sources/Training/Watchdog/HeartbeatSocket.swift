import Glibc

/// A TCP socket of the watchdogs, closed when it is deinitialized; no call blocks for longer than it says.
///
/// Heartbeats do not use MPI, whose calls a stopped or deadlocked rank would have to answer.
final class HeartbeatSocket {
  /// The file descriptor.
  let descriptor: Int32
  private var received: [UInt8] = []

  /// Takes ownership of a descriptor, and makes it nonblocking.
  init(_ descriptor: Int32) {
    self.descriptor = descriptor
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
  }

  deinit { close(descriptor) }

  /// Listens on a free port; `nil` if the system refuses.
  ///
  /// - Parameter isLocal: Whether only processes of this host can connect.
  /// - Returns: The socket.
  static func listening(isLocal: Bool) -> HeartbeatSocket? {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    let result = HeartbeatSocket(descriptor)
    let address = isLocal ? UInt32(0x7f00_0001) : 0
    let isBound = withAddress(address, port: 0) { bind(descriptor, $0, $1) == 0 && listen(descriptor, 1024) == 0 }
    return isBound ? result : nil
  }

  /// The port of a listening socket; 0 if the system does not say.
  var port: UInt16 {
    var name = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let code = withUnsafeMutablePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    }
    return code == 0 ? UInt16(bigEndian: name.sin_port) : 0
  }

  /// Connects to an IPv4 address and waits for at most two seconds; `nil` if nothing answers.
  static func connected(to address: UInt32, port: UInt16) -> HeartbeatSocket? {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    let result = HeartbeatSocket(descriptor)
    let code = withAddress(address, port: port) { connect(descriptor, $0, $1) }
    guard code == 0 || errno == EINPROGRESS, result.wait(for: POLLOUT, milliseconds: 2000) else { return nil }
    var error: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
    return error == 0 ? result : nil
  }

  /// Accepts a connection; `nil` if there is none.
  func accepted() -> HeartbeatSocket? {
    let connection = accept(descriptor, nil, nil)
    return connection < 0 ? nil : HeartbeatSocket(connection)
  }

  /// Waits until an event occurs, and returns whether it did.
  func wait(for event: Int32, milliseconds: Int32) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(event), revents: 0)
    return poll(&entry, 1, milliseconds) > 0
  }

  /// Sends bytes if there is room: a receiver would have to be stopped for hours to fill its buffer with heartbeats.
  func send(_ bytes: [UInt8]) {
    _ = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
  }

  /// Receives the next whole message of a length.
  ///
  /// - Returns: The message, `nil` if none is complete, and whether the other side has closed the connection.
  func receive(byteCount: Int) -> (message: [UInt8]?, isClosed: Bool) {
    var isClosed = false
    if received.count < byteCount {
      var buffer = [UInt8](repeating: 0, count: 4096)
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count > 0 { received += buffer[..<count] }
      isClosed = count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)
    }
    guard received.count >= byteCount else { return (nil, isClosed) }
    defer { received.removeFirst(byteCount) }
    return (Array(received.prefix(byteCount)), false)
  }

  private static func withAddress<Result>(
    _ address: UInt32, port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
  ) -> Result {
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_addr.s_addr = address.bigEndian
    name.sin_port = port.bigEndian
    return withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
  }
}
