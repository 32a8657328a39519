import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Asks with the defaults of HttpClient, which offers HTTP/2 with every request. */
class JavaClient {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        var uri = URI.create("http://127.0.0.1:" + arguments[0] + "/embed/text");
        var small = "{\"text\": \"a red bicycle\"}";
        var large = "{\"text\": \"" + "a red bicycle ".repeat(7_000) + "\"}";
        for (var body : new String[] {small, large, small, "x".repeat(3_000_000)}) {
            var request = HttpRequest.newBuilder(uri)
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
            var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            var code = answer.body().contains("body_too_large") ? " body_too_large" : "";
            System.out.println(answer.statusCode() + code);
        }
    }
}
