// The peers of Go: an echo by net, and a page by net/http. One processor, as all others have.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
)

const body = "Sixty-four bytes of text, as they are asked for again and again."

func page(answer http.ResponseWriter, _ *http.Request) {
	answer.Header().Set("Content-Type", "text/plain; charset=utf-8")
	answer.Header().Set("Content-Length", strconv.Itoa(len(body)))
	io.WriteString(answer, body)
}

func echo(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go serve(connection)
	}
}

// io.Copy would use splice(2) and a pipe, which is for bulk.
func serve(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 65536)
	for {
		count, err := connection.Read(buffer)
		if _, failed := connection.Write(buffer[:count]); err != nil || failed != nil {
			return
		}
	}
}

func main() {
	port := flag.Int("port", 0, "where to listen")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		panic(err)
	}
	go echo(listener)
	fmt.Printf("ready %d\n", *port)
	panic(http.ListenAndServe(fmt.Sprintf("127.0.0.2:%d", *port), http.HandlerFunc(page)))
}
